BEGIN;
UPDATE counter SET value = value + 1 WHERE id = 1 RETURNING value \gset
INSERT INTO audit (number, site, partition, invoice_type, request_id, at, node)
  VALUES (:value, 'site-1', 'partition-a', 'on-cycle', gen_random_uuid(), now(), 'bench');
COMMIT;
