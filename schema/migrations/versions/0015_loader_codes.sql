-- Failure codes for images whose loader was lost: for time spent decoding, and for kills that no
-- image need be to blame for. Both were called `corrupt` before.

ALTER TYPE ledger.failure_code ADD VALUE IF NOT EXISTS 'decode_timed_out' AFTER 'corrupt';
ALTER TYPE ledger.failure_code ADD VALUE IF NOT EXISTS 'killed_loader' AFTER 'decode_timed_out';
