ALTER TABLE ledger.unreadable_messages ADD COLUMN acknowledged_at timestamptz;

CREATE OR REPLACE VIEW public.unreadable_messages AS
SELECT message_id, queue, reason, body, received_at, acknowledged_at
FROM ledger.unreadable_messages;

INSERT INTO ledger.role_rights (since, role, may) VALUES
    ('0026', 'fakesweep_producer', 'UPDATE (acknowledged_at) ON ledger.unreadable_messages'),
    ('0026', 'fakesweep_producer', 'SELECT (acknowledged_at) ON ledger.unreadable_messages');
SELECT ledger.grant_roles();
