"""Roles: three groups of logins, and their rights."""

from importlib import resources

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Record the rights of each role; create and grant the roles where this user may."""
    here = resources.files("fakesweep.schema.migrations.versions")
    op.get_bind().exec_driver_sql(
        here.joinpath("0004_roles.sql").read_text("utf-8"),
        execution_options={"no_parameters": True},
    )


def downgrade() -> None:
    """Revoke the rights; the roles stay, as other databases of the server may use them."""
    op.get_bind().exec_driver_sql(
        """
        SELECT ledger.revoke_roles();
        DROP FUNCTION ledger.grant_roles, ledger.revoke_roles;
        DROP VIEW ledger.rights;
        GRANT EXECUTE ON FUNCTION public.set_policy, public.rejudge, public.content_id_of
            TO PUBLIC;
        DO $$ BEGIN
            EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database());
        END $$;
        """,
        execution_options={"no_parameters": True},
    )
