#!/usr/bin/env bash
# Makes sure that a Docker engine answers: installs one from the distribution's
# packages where there is none, and starts it where nothing else does. The
# containers lab and its tests use it.
set -euo pipefail

answers() { docker version >/dev/null 2>&1; }
compose() { docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null; }

want=()
command -v docker >/dev/null || want+=(docker.io)
command -v dockerd >/dev/null || answers || want+=(docker.io)
compose || want+=(docker-compose)
command -v debootstrap >/dev/null || want+=(debootstrap)
if [ ${#want[@]} -gt 0 ]; then
	[ "$(id -u)" -eq 0 ] || { echo "These packages are missing: ${want[*]}. Install them as root, then run this again." >&2; exit 1; }
	echo "Installing: ${want[*]}"
	log=$(mktemp)
	if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${want[@]}" iptables; } >"$log" 2>&1; then
		tail -20 "$log" >&2
		echo "Installing failed; the whole output is in $log" >&2
		exit 1
	fi
	rm -f "$log"
fi
answers && exit 0

[ "$(id -u)" -eq 0 ] || { echo "No Docker engine answers, and starting one needs root: start it, or join the group docker." >&2; exit 1; }
if [ -d /run/systemd/system ]; then
	systemctl start docker
else
	log=$(mktemp /tmp/dockerd-XXXXXX.log)
	setsid dockerd >"$log" 2>&1 </dev/null &
fi
for _ in $(seq 120); do
	answers && exit 0
	sleep 0.5
done
echo "The Docker engine did not start in a minute${log:+; see $log}." >&2
exit 1
