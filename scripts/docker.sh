#!/usr/bin/env bash
# Sees that a Docker engine answers: where none runs it is started, by systemd if
# that runs, else as a process of its own that goes on after this script.
set -euo pipefail

answers() { docker info >/dev/null 2>&1; }

answers && exit 0
if ! command -v docker >/dev/null; then
	echo "There is no docker here: install it (scripts/deps.sh lab)." >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	if sudo -n docker info >/dev/null 2>&1; then
		echo "The Docker engine answers root only: add yourself to the group docker and log in again, or run this as root." >&2
	else
		echo "No Docker engine answers: start it (sudo systemctl start docker), or run this as root." >&2
	fi
	exit 1
fi

log=/var/log/dockerd.log
if [ -d /run/systemd/system ]; then
	log="journalctl -u docker"
	systemctl start docker
elif command -v dockerd >/dev/null; then
	if ! mountpoint -q /sys/fs/cgroup && command -v cgroupfs-mount >/dev/null; then
		cgroupfs-mount
	fi
	echo "Starting the Docker engine; its log is $log"
	# A pid file of a machine that went down would stop the new engine.
	pid=$(cat /var/run/docker.pid 2>/dev/null || true)
	[ -z "$pid" ] || [ -d "/proc/$pid" ] || rm -f /var/run/docker.pid
	setsid nohup dockerd >>"$log" 2>&1 </dev/null &
else
	echo "No Docker engine answers, and there is no dockerd here to start: install docker.io." >&2
	exit 1
fi
for _ in $(seq 120); do
	answers && exit 0
	sleep 0.5
done
echo "The Docker engine does not answer after 60 s; see $log." >&2
[ ! -f "$log" ] || tail -5 "$log" >&2
exit 1
