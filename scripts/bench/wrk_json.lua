-- wrk's own summary as one line of JSON on stderr: exact microseconds instead of rounded text.
-- wrk calls no Lua while it measures. A word after `--` is a body to post.
function init(args)
  if args[1] then
    wrk.method = "POST"
    wrk.body = args[1]
    wrk.headers["Content-Type"] = "application/json"
  end
end

-- "points_us" are 199 percentiles, 0.5 to 99.5: those of several wrks can be pooled.
function done(summary, latency, requests)
  local e, points = summary.errors, {}
  for i = 1, 199 do
    points[i] = string.format("%d", latency:percentile(i / 2))
  end
  io.stderr:write(string.format(
    '{"requests":%d,"duration_us":%d,"p50_us":%d,"p90_us":%d,"p99_us":%d,"max_us":%d,' ..
    '"mean_us":%.0f,"errors_status":%d,"errors_socket":%d,"timeouts":%d,"points_us":[%s]}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90),
    latency:percentile(99), latency.max, latency.mean,
    e.status, e.connect + e.read + e.write, e.timeout, table.concat(points, ",")))
end
