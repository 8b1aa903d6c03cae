"""The daemon under a real systemd: installed by docs/install.md, and with every line of the unit in force."""

import json
import re

import pytest

from emag_syncd.storage.migrations import REVISIONS
from tests.support.processes import ROOT
from tests.systemd.conftest import SOURCE, follow
from tests.systemd.machine import Machine

pytestmark = pytest.mark.timeout(900)

UNIT = (ROOT / "systemd" / "emag-syncd.service").read_text()
API = "http://127.0.0.1:9320/api/v1/emag/products"
PROBE = "/usr/local/lib/probe.py"
FREE = "systemd-run --quiet --wait --pipe --property StateDirectory=free --property LoadCredential=name:/etc/hostname"
SHOWN = {
    *("MemoryDenyWriteExecute", "RestrictAddressFamilies", "RestrictNamespaces", "RestrictSUIDSGID", "LockPersonality"),
    *("ProtectControlGroups", "ProtectHome", "ProtectSystem", "ProtectSystem of /opt", "ProtectProc", "PrivateTmp"),
    *("RestrictRealtime", "ProtectHostname", "PrivateDevices"),
    *("PrivateUsers", "SystemCallFilter=~@privileged", "SystemCallFilter=~@resources", "root's secrets"),
}
RUNNING = "SELECT id FROM emag_sync_logs WHERE status = 'running' AND pages_processed > 1"


def shown(machine: Machine, name: str) -> str:
    """Return a property of the service."""
    return machine.run(f"systemctl show --value --property {name} emag-syncd")


def asked(machine: Machine, sql: str) -> str:
    """Return what the database answers."""
    return machine.run(f'runuser -u postgres -- psql --no-align --tuples-only --dbname emag --command "{sql}"')


def journal(machine: Machine, since: str) -> str:
    """Return what the service logged since then."""
    return machine.run(f"journalctl --unit emag-syncd --output cat --no-pager --since '{since}'")


def now(machine: Machine) -> str:
    """Return the machine's time, as its journal takes it."""
    return machine.run("sleep 1; date '+%F %T'")


def began_run(machine: Machine) -> str:
    """Ask the daemon for a full run over its API, and return its id once it has read some pages."""
    machine.write(
        "/usr/local/lib/ask.py",
        "import json, sys, urllib.request\n"
        "token = open('/etc/emag-syncd/credentials/http.token').read().strip()\n"
        "body = json.dumps({'account_type': 'main', 'mode': 'full', 'run_async': True}).encode()\n"
        "headers = {'Authorization': f'Bearer {token}', 'Content-Type': 'application/json'}\n"
        "asked = urllib.request.Request(sys.argv[1], body, headers, method='POST')\n"
        "try:\n    urllib.request.urlopen(asked)\n"
        # The schedule was quicker.
        "except urllib.error.HTTPError as error:\n    assert error.code == 409\n",
    )
    machine.run(f"python3 /usr/local/lib/ask.py {API}/sync")
    query = f'runuser -u postgres -- psql -At -d emag -c "{RUNNING}"'
    return machine.until(f"{query} | grep .")


@pytest.fixture
def running(installed: Machine) -> Machine:
    """Give the machine with the daemon ready."""
    installed.run("systemctl reset-failed; systemctl start emag-syncd")
    return installed


def test_installed_by_the_page(running: Machine) -> None:
    """The commands of the page work as they stand there; the daemon is ready, and systemd shows what it says."""
    assert shown(running, "Type") == "notify"
    assert shown(running, "UnitFileState") == "enabled"
    running.until("systemctl show --property StatusText emag-syncd | grep -q '1 account, idle'")
    assert running.run("stat --format %U:%a /etc/emag-syncd/credentials/*").splitlines() == ["root:600", "root:600"]
    assert "sandbox-main" not in running.run("systemctl show emag-syncd; journalctl --no-pager")


def test_every_line_is_in_force(running: Machine) -> None:
    """A process that runs as the daemon does can do nothing of what the unit forbids; systemd's own score agrees."""
    running.write(PROBE, (ROOT / "tests" / "systemd" / "probe.py").read_text())
    running.write("/tmp/everybodys", "")
    unit = re.sub(r"^(NotifyAccess|ExecReload|WatchdogSec|Restart\w*)=.*\n", "", UNIT, flags=re.MULTILINE)
    unit = re.sub(r"^Type=.*", "Type=oneshot", unit, flags=re.MULTILINE)
    unit = re.sub(r"^ExecStart=.*", f"ExecStart=/opt/emag-syncd/bin/python {PROBE}", unit, flags=re.MULTILINE)
    running.write("/run/systemd/system/probe.service", unit)
    free = json.loads(running.run(f"{FREE} /opt/emag-syncd/bin/python {PROBE}"))
    # What the container forbids by itself can't be shown here.
    assert set(free["could"]) >= SHOWN
    running.run(
        "install -D /etc/systemd/system/emag-syncd.service.d/credentials.conf -t /run/systemd/system/probe.service.d;"
        "systemctl daemon-reload; systemctl start probe"
    )
    said = running.until("journalctl --unit probe --output cat --no-pager | grep -o '^{.*}$'")
    assert json.loads(said) == {
        "could": [],
        "capabilities": 0,
        "no_new_privileges": "1",
        "seccomp": "2",
        "umask": "0077",
        "credentials": ["accounts.main.password", "http.token"],
    }
    score = running.run("systemd-analyze security --no-pager emag-syncd | tail -1")
    assert float(re.findall(r"\d+\.\d+", score)[0]) <= 1.5


def test_killed(running: Machine) -> None:
    """After kill -9 in mid-run it is started again, ends the dead run, and takes up its scan."""
    run_id = began_run(running)
    before, restarts = shown(running, "MainPID"), int(shown(running, "NRestarts"))
    running.run(f"kill -9 {before}")
    running.until(f"[ $(systemctl show --value --property NRestarts emag-syncd) -gt {restarts} ]")
    running.until("systemctl is-active emag-syncd")
    assert shown(running, "MainPID") != before
    assert asked(running, f"SELECT status FROM emag_sync_logs WHERE id = '{run_id}'") == "failed"
    query = "SELECT count(*) FROM emag_sync_logs WHERE status = 'completed' AND scan_id = (SELECT scan_id FROM"
    query = f"{query} emag_sync_logs WHERE id = '{run_id}')"
    running.until(f"""[ "$(runuser -u postgres -- psql -At -d emag -c "{query}")" -gt 0 ]""")


def test_a_blocked_loop(running: Machine) -> None:
    """Systemd's watchdog aborts it, the stacks are in the journal, and it is started again."""
    since, restarts = now(running), int(shown(running, "NRestarts"))
    running.run(f"kill -USR1 {shown(running, 'MainPID')}")
    running.until(f"[ $(systemctl show --value --property NRestarts emag-syncd) -gt {restarts} ]", within=180)
    running.until("systemctl is-active emag-syncd")
    said = journal(running, since)
    assert "Fatal Python error: Aborted" in said
    assert re.search(r'sitecustomize.py", line \d+ in <lambda>', said)
    assert '"action": "task_stack"' in said
    assert "Watchdog timeout" in running.run(f"journalctl --no-pager --since '{since}' _PID=1")


def test_stopped_in_mid_run(running: Machine) -> None:
    """It ends with status 0, the run is on record as cancelled by the shutdown, and the status named its account."""
    run_id = began_run(running)
    running.until("systemctl show --property StatusText emag-syncd | grep -q 'syncing main'")
    running.run("systemctl stop emag-syncd")
    assert (shown(running, "Result"), shown(running, "ExecMainStatus")) == ("success", "0")
    ended = f"SELECT status, errors -> -1 ->> 'kind' FROM emag_sync_logs WHERE id = '{run_id}'"
    assert asked(running, ended) == "cancelled|shutdown"


def test_a_bad_configuration(running: Machine) -> None:
    """It ends with status 78 and a line that says what is wrong, and is not started again; a reload refuses it."""
    config = "/etc/emag-syncd/config.toml"
    running.run(f"cp {config} /root/good; echo 'nonsense = 1' | cat - /root/good > {config}")
    since = now(running)
    try:
        running.run("systemctl reload emag-syncd")
        running.until(f"journalctl --unit emag-syncd --since '{since}' | grep -q reload_refused")
        assert shown(running, "ActiveState") == "active"
        running.run("systemctl restart emag-syncd", check=False)
        assert (shown(running, "ActiveState"), shown(running, "ExecMainStatus")) == ("failed", "78")
        restarts = shown(running, "NRestarts")
        # Longer than RestartSec=: had it been going to, it would have been started by then.
        running.run("sleep 15")
        assert (shown(running, "ActiveState"), shown(running, "NRestarts")) == ("failed", restarts)
        assert "nonsense" in journal(running, since)
    finally:
        running.run(f"cat /root/good > {config}")


def test_upgrade_and_rollback(running: Machine) -> None:
    """By the page: a release with a new migration, the old release that refuses its schema, and the way back."""
    newer = f"{SOURCE}-newer"
    latest = REVISIONS[-1]
    migration = (
        f'revision = "9999"\ndown_revision = "{latest}"\nbranch_labels = None\ndepends_on = None\n\n\n'
        "def upgrade() -> None:\n    pass\n\n\ndef downgrade() -> None:\n    pass\n"
    )
    running.run(f"cp -r {SOURCE} {newer}; sed -i 's/^version = .*/version = \"9.9.9\"/' {newer}/pyproject.toml")
    running.write(f"{newer}/migrations/versions/9999_newer.py", migration)
    follow(running, "upgrade", newer)
    assert asked(running, "SELECT version_num FROM emag_syncd_version") == "9999"
    since = now(running)
    running.run(
        "ln --symbolic --force --no-dereference /opt/emag-syncd-0.1.0 /opt/emag-syncd; systemctl restart emag-syncd",
        check=False,
    )
    running.until(f"journalctl --unit emag-syncd --since '{since}' | grep -q 'is newer (9999) than this'")
    follow(running, "rollback")
    assert asked(running, "SELECT version_num FROM emag_syncd_version") == latest
    assert shown(running, "ActiveState") == "active"


def test_removed(running: Machine) -> None:
    """The page's last commands leave the database and nothing else."""
    follow(running, "remove")
    left = "find /etc /opt /usr/lib/systemd /usr/lib/sysusers.d /usr/lib/tmpfiles.d -name '*emag-syncd*'"
    assert running.run(left) == ""
    assert int(asked(running, "SELECT count(*) FROM emag_sync_logs")) > 0
