#!/usr/bin/env bash
# Makes the images that compose.yaml and the Dockerfile begin with, under their
# official names, on a machine that reaches Debian's packages and no image
# registry. Where a registry answers, the images are pulled; what exists is left
# alone. So it may run before every build, and costs nothing the second time.
#
#   base-images.sh                   what the lab needs, for $PG_VERSION's $DEBIAN
#   base-images.sh debian:trixie-slim haproxy:2.6 …
#
# Remove one with `docker rmi NAME` to have it made again.
set -euo pipefail

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
here=$(cd "$(dirname "$0")" && pwd)
registry= # does one answer? Asked once, and only when something is missing.

say() { echo "base-images: $*" >&2; }
die() { say "$*"; exit 1; }

exists() { docker image inspect "$1" >/dev/null 2>&1; }

# pull gets an image from the registry, if one answers.
pull() {
	[ "$registry" = no ] && return 1
	say "pulling $1"
	if timeout "${PULL_TIMEOUT:-120}" docker pull -q "$1" >/dev/null 2>&1; then
		registry=yes
		return 0
	fi
	[ "$registry" = yes ] || registry=no
	return 1
}

need() { # IMAGE
	exists "$1" && return 0
	pull "$1" && return 0
	case $1 in
	debian:*-slim) debian "$1" ;;
	golang:*-bookworm) golang "$1" ;;
	zookeeper:3.8 | haproxy:2.6)
		need debian:bookworm-slim
		say "building $1 from Debian's package"
		quietly docker build -t "$1" "$here/base/${1%%:*}"
		;;
	*) die "$1 cannot be pulled, and this script does not know how to make it" ;;
	esac
}

# quietly shows a command's output only when the command fails.
quietly() {
	local log
	log=$(mktemp)
	if ! "$@" >"$log" 2>&1; then
		tail -40 "$log" >&2
		die "failed: $* (the whole output is in $log)"
	fi
	rm -f "$log"
}

# debian makes a slim base image: the essential packages without documentation
# and translations, and the settings that keep later packages without them too.
debian() {
	local suite=${1#debian:} script
	suite=${suite%-slim}
	[ "$(id -u)" -eq 0 ] || die "making $1 needs root (debootstrap); run this with sudo"
	command -v debootstrap >/dev/null || die "debootstrap is missing: install it (apt-get install debootstrap)"
	# A release younger than this machine's debootstrap is made as sid is.
	script=$suite
	[ -e "/usr/share/debootstrap/scripts/$suite" ] || script=sid
	local dir
	dir=$(mktemp -d)
	# shellcheck disable=SC2064 # the directory of now
	trap "rm -rf '$dir'" EXIT
	say "making $1 with debootstrap"
	quietly debootstrap --variant=minbase "$suite" "$dir" "$mirror" "/usr/share/debootstrap/scripts/$script"
	slim "$suite" "$dir"
	tar -C "$dir" --numeric-owner -c . | quietly docker import -c 'CMD ["bash"]' -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' - "$1"
	rm -rf "$dir"
	trap - EXIT
}

slim() { # SUITE DIR
	local suite=$1 dir=$2
	cat >"$dir/etc/dpkg/dpkg.cfg.d/docker" <<-'END'
		path-exclude=/usr/share/doc/*
		path-include=/usr/share/doc/*/copyright
		path-exclude=/usr/share/groff/*
		path-exclude=/usr/share/info/*
		path-exclude=/usr/share/lintian/*
		path-exclude=/usr/share/linda/*
		path-exclude=/usr/share/locale/*
		path-exclude=/usr/share/man/*
		force-unsafe-io
	END
	cat >"$dir/etc/apt/apt.conf.d/docker" <<-'END'
		APT::Install-Recommends "false";
		Acquire::Languages "none";
		DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
	END
	rm -f "$dir/etc/apt/sources.list"
	cat >"$dir/etc/apt/sources.list.d/debian.sources" <<-END
		Types: deb
		URIs: $mirror
		Suites: $suite
		Components: main
		Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
	END
	if [ "$suite" = forky ] || [ "$suite" = sid ]; then
		# A mirror's snapshot of the release under development may be old.
		echo 'Acquire::Check-Valid-Until "false";' >"$dir/etc/apt/apt.conf.d/old-release-file"
	else
		cat >>"$dir/etc/apt/sources.list.d/debian.sources" <<-END

			Types: deb
			URIs: $mirror-security
			Suites: $suite-security
			Components: main
			Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
		END
	fi
	printf '#!/bin/sh\nexit 101\n' >"$dir/usr/sbin/policy-rc.d" # packages start nothing
	chmod 755 "$dir/usr/sbin/policy-rc.d"
	find "$dir/usr/share/doc" -mindepth 2 -not -name copyright -not -type d -delete
	rm -rf "$dir"/usr/share/{groff,info,lintian,linda,locale,man}/* "$dir"/var/{cache/apt,lib/apt/lists,log}/* \
		"$dir"/etc/{hostname,resolv.conf} "$dir"/dev/* "$dir"/tmp/*
	mkdir -p "$dir/var/cache/apt/archives/partial" "$dir/var/lib/apt/lists/partial"
}

# golang puts this machine's Go into Debian, where the official image has it.
golang() {
	local wanted=${1#golang:} root
	wanted=${wanted%-*}
	root=$(go env GOROOT 2>/dev/null) || die "$1 cannot be pulled and this machine has no Go to make it from"
	case $(go env GOVERSION) in
	"go$wanted" | "go$wanted."*) ;;
	*) die "$1 cannot be pulled, and this machine's Go is $(go env GOVERSION), not $wanted" ;;
	esac
	need debian:bookworm-slim
	say "making $1 from $root"
	local dir
	dir=$(mktemp -d)
	# A network without a registry may have a proxy with an authority of its own:
	# the module proxy is reached with the authorities that this machine trusts.
	cat >"$dir/Dockerfile" <<-'END'
		FROM debian:bookworm-slim
		RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
		COPY ca-certificates.crt /etc/ssl/certs/
		COPY go /usr/local/go
		ENV GOTOOLCHAIN=local GOPATH=/go PATH=/go/bin:/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		WORKDIR /go
	END
	tar -h -c -C "$dir" Dockerfile -C /etc/ssl/certs ca-certificates.crt \
		-C "$(dirname "$root")" --transform "s,^$(basename "$root"),go," "$(basename "$root")" |
		quietly docker build -t "$1" -
	rm -rf "$dir"
}

docker info >/dev/null 2>&1 || die "no Docker engine answers; start one, or see scripts/docker.sh"
[ $# -gt 0 ] || set -- "debian:${DEBIAN:-bookworm}-slim" golang:1.26-bookworm zookeeper:3.8 haproxy:2.6
for image; do need "$image"; done
