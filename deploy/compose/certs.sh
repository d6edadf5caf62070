#!/usr/bin/env bash
# Makes certificates for the lab: an authority, and for each NAME a key and a
# certificate that is good as server and as client. What exists is left alone.
#
#   certs.sh DIR NAME…
#
# Keys belong to whoever runs this, mode 0600: in compose.yaml that is a container
# with the nodes' user, so that no key ever lies on the host. The authority's own
# key is thrown away at the end: to change the names, remove DIR and run it again.
set -euo pipefail
umask 077
[ $# -ge 2 ] || { sed -n '2,5s/^# \{0,1\}//p' "$0" >&2; exit 2; }
dir=$1
shift

complete() {
	local n
	for n in ca.pem "${@/%/.pem}" "${@/%/.key}"; do [ -s "$dir/$n" ] || return 1; done
}

if complete "$@"; then
	echo "certs: all there"
	exit 0
fi
command -v openssl >/dev/null || { echo "certs: openssl is missing" >&2; exit 1; }
mkdir -p "$dir"
work=$(mktemp -d "$dir/.making-XXXXXX")
trap 'rm -rf "$work"' EXIT

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

key "$work/ca.key"
openssl req -x509 -new -sha256 -key "$work/ca.key" -days 3650 -subj "/CN=Matriarch lab authority" \
	-addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" -out "$work/ca.pem"
for name; do
	key "$work/$name.key"
	openssl req -new -key "$work/$name.key" -subj "/CN=$name" -out "$work/$name.csr"
	# Clients reach a node by its own name, through the entrypoint, or by a port
	# of the host.
	cat >"$work/$name.ext" <<-END
		basicConstraints=CA:FALSE
		keyUsage=digitalSignature
		extendedKeyUsage=serverAuth,clientAuth
		subjectAltName=DNS:$name,DNS:entrypoint,DNS:localhost,IP:127.0.0.1
	END
	openssl x509 -req -sha256 -in "$work/$name.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" \
		-CAcreateserial -days 3650 -extfile "$work/$name.ext" -out "$work/$name.pem" 2>/dev/null
done
rm -f "$work"/ca.key "$work"/*.csr "$work"/*.ext "$work"/*.srl
chmod 644 "$work"/*.pem
chmod 600 "$work"/*.key
mv "$work"/* "$dir"/
echo "certs: made for $*"
