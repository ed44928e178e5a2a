-- wrk's own summary as one line of JSON on stderr: exact microseconds instead of rounded text.
-- Only `done` is defined: wrk calls no Lua while it measures.
function done(summary, latency, requests)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d,' ..
    '"mean_us":%.0f,"errors_status":%d,"errors_socket":%d,"timeouts":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency.max, latency.mean,
    e.status, e.connect + e.read + e.write, e.timeout))
end
