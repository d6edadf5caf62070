#!/bin/bash
# What is used of ZooKeeper's own script: `start-foreground`, and `status`.
set -e
cfg=${ZOOCFGDIR:-/conf}/zoo.cfg
case ${1:-} in
start-foreground)
	# shellcheck disable=SC2086 # flags are words
	exec java -Xmx"${ZK_SERVER_HEAP:-1000}m" $SERVER_JVMFLAGS $JVMFLAGS \
		-Dlog4j.configuration="file:${ZOOCFGDIR:-/conf}/log4j.properties" \
		-cp "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-log4j12.jar:/usr/share/java/log4j-1.2.jar" \
		org.apache.zookeeper.server.quorum.QuorumPeerMain "$cfg"
	;;
status)
	exec 3<>/dev/tcp/127.0.0.1/2181
	printf srvr >&3
	grep '^Mode' <&3
	;;
*)
	echo "usage: zkServer.sh start-foreground|status" >&2
	exit 2
	;;
esac
