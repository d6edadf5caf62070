#!/usr/bin/env bash
# Makes sure that a Docker engine and compose answer: installs them from the
# distribution's packages where they are missing, and starts the engine where
# nothing else does, by systemd if that runs, else as a process of its own that
# goes on after this script. The containers lab and its tests use it.
set -euo pipefail

answers() { docker info >/dev/null 2>&1; }
compose() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

want=()
command -v docker >/dev/null || want+=(docker.io)
answers || command -v dockerd >/dev/null || want+=(docker.io)
compose || want+=(docker-compose)
# Makes the base images where no registry answers: for root, and only Debian has it.
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
	command -v debootstrap >/dev/null || want+=(debootstrap)
fi
if [[ " ${want[*]} " = *" docker.io "* ]]; then
	want+=(iptables)
	# What the engine lacks without the packages that it only recommends.
	[ -d /run/systemd/system ] || mountpoint -q /sys/fs/cgroup || want+=(cgroupfs-mount)
	grep -qw overlay /proc/filesystems || want+=(fuse-overlayfs)
fi
if [ ${#want[@]} -gt 0 ]; then
	if [ "$(id -u)" -ne 0 ]; then
		echo "These packages are missing: ${want[*]}. Install them as root, then run this again." >&2
		exit 1
	fi
	if ! command -v apt-get >/dev/null; then
		echo "These packages (by their Debian names) are missing: ${want[*]}. Install them with this system's package manager, then run this again." >&2
		exit 1
	fi
	echo "Installing: ${want[*]}"
	log=$(mktemp)
	if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${want[@]}"; } >"$log" 2>&1; then
		tail -20 "$log" >&2
		echo "Installing failed; the whole output is in $log" >&2
		exit 1
	fi
	rm -f "$log"
fi
answers && exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "No Docker engine answers, and starting one needs root: start it (systemctl start docker), or join the group docker." >&2
	exit 1
fi
if [ -d /run/systemd/system ]; then
	where="journalctl -u docker"
	systemctl start docker
else
	log=$(mktemp /tmp/dockerd-XXXXXX.log)
	where=$log
	if ! mountpoint -q /sys/fs/cgroup && command -v cgroupfs-mount >/dev/null; then
		cgroupfs-mount
	fi
	# The file of an engine that went down with its machine stops the next one.
	pid=$(cat /var/run/docker.pid 2>/dev/null || true)
	[ -z "$pid" ] || [ -d "/proc/$pid" ] || rm -f /var/run/docker.pid
	setsid dockerd >"$log" 2>&1 </dev/null &
fi
for _ in $(seq 120); do
	answers && exit 0
	sleep 0.5
done
echo "The Docker engine did not start in a minute; see $where." >&2
exit 1
