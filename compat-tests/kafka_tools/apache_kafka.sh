#!/usr/bin/env bash
# Apache Kafka itself, one node, in the place of Monedula's binary: the same arguments (--override KEY=VALUE), so that a test
# may start, stop and kill it. KAFKA_JARS names the directory of its jars.
set -euo pipefail
properties=()
while [ $# -gt 0 ]; do
  [ "$1" = --override ] || { echo "unknown argument $1" >&2; exit 64; }
  properties+=("$2"); shift 2
done
for property in "${properties[@]}"; do
  case "$property" in
    log.dirs=*) data="${property#*=}" ;;
    listeners=*) port="${property##*:}" ;;
  esac
done
home="$(dirname "${data%%,*}")"
controller=$((port - 10000))
cat > "$home/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
P
for property in "${properties[@]}"; do
  case "$property" in listeners=*) property="$property,CONTROLLER://127.0.0.1:$controller" ;; esac
  echo "$property" >> "$home/server.properties"
done
java=(java -Xmx400m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=WARN -cp "$KAFKA_JARS/*")
[ -e "${data%%,*}/meta.properties" ] \
  || "${java[@]}" kafka.tools.StorageTool format --standalone --feature eligible.leader.replicas.version=0 -t AAAAAAAAAAAAAAAAAAAAAQ -c "$home/server.properties" >&2
exec "${java[@]}" kafka.Kafka "$home/server.properties"
