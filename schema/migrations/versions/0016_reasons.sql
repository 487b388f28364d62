-- Reasons are a line for people: code cuts them at 2,000 bytes, and the ledger refuses what is four
-- times as long.

UPDATE ledger.outcomes SET failure_message = left(failure_message, 500)
WHERE octet_length(failure_message) > 8000;
UPDATE ledger.unreadable_messages SET reason = left(reason, 500)
WHERE octet_length(reason) > 8000;
UPDATE ledger.schedule_runs SET reason = left(reason, 500) WHERE octet_length(reason) > 8000;
UPDATE ledger.webhook_deliveries SET last_error = left(last_error, 500)
WHERE octet_length(last_error) > 8000;
UPDATE ledger.outputs SET trouble = left(trouble, 500) WHERE octet_length(trouble) > 8000;

ALTER TABLE ledger.outcomes
    ADD CONSTRAINT messages_are_short CHECK (octet_length(failure_message) <= 8000);
ALTER TABLE ledger.unreadable_messages
    ADD CONSTRAINT reasons_are_short CHECK (octet_length(reason) <= 8000);
ALTER TABLE ledger.schedule_runs
    ADD CONSTRAINT reasons_are_short CHECK (octet_length(reason) <= 8000);
ALTER TABLE ledger.webhook_deliveries
    ADD CONSTRAINT errors_are_short CHECK (octet_length(last_error) <= 8000);
ALTER TABLE ledger.outputs
    ADD CONSTRAINT troubles_are_short CHECK (octet_length(trouble) <= 8000);
