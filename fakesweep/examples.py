"""Examples of each command, shown in its help; a test parses each line."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("fakesweep scan ~/Pictures", "fakesweep status", "fakesweep results last --verdict fake"),
    "scan": (
        "fakesweep scan ~/Pictures",
        "fakesweep scan s3://photos/2026/ --model deepguard --name january --audit",
        "fakesweep scan list.csv --include '*.jpg' --since 7d --output results/",
    ),
    "check": (
        "fakesweep check photo.jpg",
        "fakesweep check --model deepguard --model ai-guard-vision photo.jpg",
    ),
    "resume": ("fakesweep resume last",),
    "pause": ("fakesweep pause january",),
    "cancel": ("fakesweep cancel 12",),
    "retry": ("fakesweep retry 12 --code not_found --code timed_out",),
    "status": ("fakesweep status", "fakesweep status last --watch"),
    "results": (
        "fakesweep results last --verdict fake",
        "fakesweep results january --failed --format csv > failures.csv",
        "fakesweep results 12 --format parquet --output scan-12.parquet",
    ),
    "changes": ("fakesweep changes last --change new --format csv",),
    "rejudge": ("fakesweep rejudge january --policy strict",),
    "policy": ("fakesweep policy list",),
    "policy list": ("fakesweep policy list",),
    "policy show": ("fakesweep policy show default",),
    "policy set": ("fakesweep policy set strict --real-below 0.1 --fake-above 0.95",),
    "sql": (
        'fakesweep sql "SELECT uri, p_fake FROM verdicts ORDER BY p_fake DESC LIMIT 10"',
        'fakesweep sql "SELECT * FROM scan_progress" --format csv > scans.csv',
    ),
    "models": ("fakesweep models list",),
    "models list": ("fakesweep models list",),
    "models show": ("fakesweep models show deepguard",),
    "models pull": ("fakesweep models pull deepguard",),
    "schedule": ("fakesweep schedule list",),
    "schedule add": (
        "fakesweep schedule add nightly s3://photos/ --cron '0 3 * * *' --model deepguard",
        "fakesweep schedule add mondays ~/Pictures --cron '0 8 * * 1' --timezone Europe/Berlin",
    ),
    "schedule list": ("fakesweep schedule list",),
    "schedule show": ("fakesweep schedule show nightly",),
    "schedule pause": ("fakesweep schedule pause nightly",),
    "schedule resume": ("fakesweep schedule resume nightly",),
    "schedule remove": ("fakesweep schedule remove nightly",),
    "schedule run-now": ("fakesweep schedule run-now nightly",),
    "webhook": ("fakesweep webhook list",),
    "webhook add": (
        "fakesweep webhook add moderation https://example.org/hooks/fakes --verdict fake",
    ),
    "webhook list": ("fakesweep webhook list",),
    "webhook test": ("fakesweep webhook test moderation",),
    "webhook pause": ("fakesweep webhook pause moderation",),
    "webhook resume": ("fakesweep webhook resume moderation",),
    "webhook remove": ("fakesweep webhook remove moderation",),
    "webhook dead": ("fakesweep webhook dead --name moderation",),
    "webhook retry": ("fakesweep webhook retry moderation", "fakesweep webhook retry 4711"),
    "token": ("fakesweep token list",),
    "token add": ("fakesweep token add uploader --scope submit --rate 600 --expires 90d",),
    "token list": ("fakesweep token list",),
    "token revoke": ("fakesweep token revoke uploader",),
    "prune": ("fakesweep prune --older-than 365d --dry-run", "fakesweep prune --older-than 365d"),
    "worker": ("fakesweep worker --device cuda:0 --preset 224 --model deepguard",),
    "producer": ("fakesweep producer", "fakesweep producer --listen sqs://uploads"),
    "api": ("fakesweep api --port 8000", "fakesweep api --openapi > openapi.json"),
    "health": ("fakesweep health worker",),
    "backup": ("fakesweep backup /backups/2026-01-31.fakesweep",),
    "restore": ("fakesweep restore /backups/2026-01-31.fakesweep",),
    "celery": ("fakesweep celery status", "fakesweep celery inspect active"),
    "db": ("fakesweep db upgrade",),
    "db upgrade": ("fakesweep db upgrade",),
    "db login": ("WORKER_PASSWORD=… fakesweep db login worker",),
    "db url": ('psql "$(fakesweep db url --for psql)"',),
    "up": ("fakesweep up", 'eval "$(fakesweep up --export)"'),
    "down": ("fakesweep down",),
    "completion": ("fakesweep completion install",),
    "completion install": ("fakesweep completion install", "fakesweep completion install zsh"),
    "completion show": ("fakesweep completion show bash > fakesweep.bash",),
    "manual": ("fakesweep manual > ~/.local/share/man/man1/fakesweep.1",),
}
"""By the command's words; the empty string is `fakesweep` itself."""


def section(path: str) -> str:
    """Return the examples of a command, for the end of its help."""
    lines = EXAMPLES.get(path, ())
    head = "Example:" if len(lines) == 1 else "Examples:"
    return "\n".join(("\b", head, *(f"  {line}" for line in lines)))
