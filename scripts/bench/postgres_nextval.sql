INSERT INTO audit (number, site, partition, invoice_type, request_id, at, node)
  VALUES (nextval('numbers'), 'site-1', 'partition-a', 'on-cycle', gen_random_uuid(), now(), 'bench')
  RETURNING number;
