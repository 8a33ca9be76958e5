#!/usr/bin/env bash
# Brings the jars of Apache Kafka into var/kafka/libs by Maven; quick when they are there.
#
# Without Java or Maven it says so and succeeds: the tests that need Kafka then skip, and CI fails on that skip.
set -euo pipefail
cd "$(dirname "$0")/../.."

libs=var/kafka/libs
want=$(cksum <deploy/kafka/pom.xml)
[ "$(cat "$libs/fetched" 2>/dev/null)" = "$want" ] && exit 0
for tool in java mvn; do
  command -v "$tool" >/dev/null || { echo "kafka: no $tool here, so no Apache Kafka"; exit 0; }
done

echo "kafka: fetching Apache Kafka by Maven into $libs; half a minute and 100 MB"
rm -rf "$libs"
mkdir -p "$libs"
mvn --batch-mode --quiet -Dstyle.color=never --file deploy/kafka/pom.xml -Dmaven.repo.local="$PWD/var/kafka/maven" package
echo "$want" >"$libs/fetched"
echo "kafka: $(find "$libs" -name '*.jar' | wc -l) jars in $libs"
