#!/usr/bin/env bash
# Kafka and Postgres for tests and development, with or without Docker.
#
#   scripts/services.sh up       start both and wait until they answer
#   scripts/services.sh env      print the `export` lines:  eval "$(scripts/services.sh env)"
#   scripts/services.sh status   say what is up; exit 0 when both are
#   scripts/services.sh down     stop what `up` started; remove its data and Kafka's jars, unless
#                                KEEP_DATA=1
#   scripts/services.sh stop|start|pause|resume kafka|postgres
#                                do that to one that `up` started; its data stay
#
# Each of the two is taken from the first of these that applies:
#   1. KAFKA_BROKERS or DATABASE_URL, where set: used as it is, never started or stopped;
#   2. Docker Compose, where an engine answers;
#   3. natively: Kafka from its jars (fetched with Maven), Postgres from its Debian package.
#
# HEADWATER_SERVICES_DIR        where everything is kept (default: .services in the repository)
# HEADWATER_KAFKA_JARS          where Kafka's jars are or are put (default: in there)
# HEADWATER_KAFKA_PORT          loopback ports to use
# HEADWATER_POSTGRES_PORT       (default: the first free ones from 19092 and 15432)
# HEADWATER_SERVICES_TIMEOUT    seconds to wait for each service (default 120)
set -euo pipefail

readonly KAFKA_VERSION=3.9.1
readonly SCALA_VERSION=2.13
readonly DATABASE_USER=headwater
readonly DATABASE_PASSWORD=headwater
readonly WAIT_SECONDS="${HEADWATER_SERVICES_TIMEOUT:-120}"

repository="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
readonly repository

say() { printf 'services: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

# The user that runs Postgres, which refuses to run as root.
postgres_user() {
    if ! is_root; then
        id -un
    elif id postgres >/dev/null 2>&1; then
        echo postgres
    else
        echo nobody
    fi
}

as_postgres_user() {
    if is_root; then
        (cd / && runuser -u "$(postgres_user)" -- "$@")
    else
        "$@"
    fi
}

# A repository that the Postgres user cannot enter (below /root, say) keeps its services in the
# temporary directory, under a name that belongs to the repository's path.
default_directory() {
    if is_root && ! as_postgres_user test -x "$repository" 2>/dev/null; then
        echo "${TMPDIR:-/tmp}/headwater-services-$(printf '%s' "$repository" | sha256sum | cut -c1-12)"
    else
        echo "$repository/.services"
    fi
}

directory="${HEADWATER_SERVICES_DIR:-$(default_directory)}"
make_directory() {
    mkdir -p "$directory"
    [ -O "$directory" ] || fail "$directory belongs to somebody else"
    chmod 755 "$directory"
    directory="$(cd "$directory" && pwd -P)"
}
[ ! -d "$directory" ] || directory="$(cd "$directory" && pwd -P)"
readonly compose_file="$repository/docker-compose.kafka.yml"

# --- What is remembered between calls: one small file per fact. ------------------------------

recall() { cat "$directory/state/$1" 2>/dev/null || true; }
remember() {
    mkdir -p "$directory/state"
    printf '%s\n' "$2" >"$directory/state/$1"
}

started_kafka() { [ -n "$(recall kafka)" ]; }
started_postgres() { [ -n "$(recall postgres)" ]; }

own_brokers() { echo "127.0.0.1:$(recall kafka-port)"; }
own_database_url() {
    echo "postgres://$DATABASE_USER:$DATABASE_PASSWORD@127.0.0.1:$(recall postgres-port)/headwater"
}

# Addresses that were given from outside. A shell that evaluated `env` has our own ones set.
given_brokers() { if ! started_kafka || [ "${KAFKA_BROKERS:-}" != "$(own_brokers)" ]; then echo "${KAFKA_BROKERS:-}"; fi; }
given_database_url() { if ! started_postgres || [ "${DATABASE_URL:-}" != "$(own_database_url)" ]; then echo "${DATABASE_URL:-}"; fi; }

brokers() {
    local given
    given="$(given_brokers)"
    if [ -n "$given" ]; then echo "$given"; elif started_kafka; then own_brokers; fi
}
database_url() {
    local given
    given="$(given_database_url)"
    if [ -n "$given" ]; then echo "$given"; elif started_postgres; then own_database_url; fi
}
without_password() { sed -E 's#(://[^:/@]*):[^@]*@#\1:***@#; s#(password=)[^&[:space:]]*#\1***#g' <<<"$1"; }

# --- Whether something answers. --------------------------------------------------------------

port_answers() { timeout 5 bash -c 'exec 3<>"/dev/tcp/$1/$2"' _ "$1" "$2" 2>/dev/null; }

# Sends Kafka's ApiVersions request (key 18, version 0, correlation id 1, no client id), and
# expects a response with that correlation id.
kafka_speaks() {
    local reply
    reply="$(timeout 5 bash -c '
        exec 3<>"/dev/tcp/$1/$2"
        printf "\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff" >&3
        head -c 8 <&3 | tail -c 4 | od -An -tx1' _ "$1" "$2" 2>/dev/null)" || return 1
    [ "${reply//[[:space:]]/}" = 00000001 ]
}

kafka_answers() {
    local first
    first="$(brokers)"
    [ -n "$first" ] || return 1
    first="${first%%,*}"
    # A broker given from outside may want TLS first: there a connection is all that can be seen.
    if [ -n "$(given_brokers)" ]; then
        port_answers "${first%:*}" "${first##*:}"
    else
        kafka_speaks "${first%:*}" "${first##*:}"
    fi
}

postgres_answers() {
    local url psql
    url="$(database_url)"
    [ -n "$url" ] || return 1
    if psql="$(postgres_program psql)"; then
        PGCONNECT_TIMEOUT=5 "$psql" --no-psqlrc --no-password --quiet --tuples-only \
            --dbname "$url" --command 'select 1' >/dev/null 2>&1 </dev/null
    elif [ "$(recall postgres)" = docker ]; then
        compose exec -T postgres pg_isready --host 127.0.0.1 >/dev/null 2>&1 </dev/null
    else
        local address="${url##*@}"
        address="${address%%/*}"
        [[ "$address" == *:* ]] || address="$address:5432"
        port_answers "${address%:*}" "${address##*:}"
    fi
}

# Waits for `$1 command`; gives up early when `$2 command` says that the process has ended.
wait_until() {
    local answers="$1" alive="$2" deadline=$((SECONDS + WAIT_SECONDS))
    until "$answers"; do
        "$alive" || return 1
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.3
    done
}

# The first port from $1 on that nothing listens on.
free_port() {
    local port="$1"
    while port_answers 127.0.0.1 "$port"; do port=$((port + 1)); done
    echo "$port"
}

# --- Processes. ------------------------------------------------------------------------------

# Whether the process in state file $1 still runs and is the one we started: its command line
# names our directory, which a later process that got the same number would not.
process_runs() {
    local pid
    pid="$(recall "$1")"
    [ -n "$pid" ] && [[ "$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")" == *"$directory"* ]]
}
kafka_runs() { process_runs kafka-pid; }
always() { true; }

stop_process() {
    local pid deadline=$((SECONDS + 20))
    process_runs "$1" || return 0
    pid="$(recall "$1")"
    kill "$pid" 2>/dev/null || true
    while process_runs "$1"; do
        if [ "$SECONDS" -ge "$deadline" ]; then kill -KILL "$pid" 2>/dev/null || true; fi
        sleep 0.1
    done
}

# --- Docker. ---------------------------------------------------------------------------------

docker_answers() {
    command -v docker >/dev/null && timeout 20 docker info >/dev/null 2>&1 &&
        docker compose version >/dev/null 2>&1
}

# Its own project, so that another checkout's services on this machine are left alone.
compose() {
    HEADWATER_KAFKA_PORT="$(recall kafka-port)" HEADWATER_POSTGRES_PORT="$(recall postgres-port)" \
        docker compose --file "$compose_file" \
        --project-name "headwater-$(printf '%s' "$directory" | sha256sum | cut -c1-8)" "$@"
}

docker_up() {
    remember "$1" docker
    compose up --detach --wait --wait-timeout "$WAIT_SECONDS" "$1" </dev/null >&2 || {
        compose logs --tail 40 "$1" >&2 || true
        fail "$1 did not start"
    }
}

docker_down() {
    if [ "${KEEP_DATA:-0}" = 1 ]; then
        compose down </dev/null >&2
    else
        compose down --volumes </dev/null >&2
    fi
}

# --- What a native start needs. --------------------------------------------------------------

# Makes sure of a command by its Debian package: installs it as root, else says what to do.
need() {
    local found="$1" package="$2"
    if "$found"; then return; fi
    command -v apt-get >/dev/null || fail "please install what Debian calls $package"
    is_root || fail "please install it first: sudo apt-get install $package"
    say "installing $package"
    # Debian would start a database of its own on the default port.
    if [ "$package" = postgresql ] && [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    {
        apt-get -qq update
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
            -o Dpkg::Options::=--force-confold "$package"
    } </dev/null >&2 || fail "installing $package failed"
    "$found" || fail "$package is installed but does not hold what is needed"
}

has_java() { java -version >/dev/null 2>&1; }
has_maven() { command -v mvn >/dev/null; }
has_postgres() { postgres_program initdb >/dev/null; }

# The path of a Postgres program: Debian keeps the servers' ones out of PATH, one directory a version.
postgres_program() {
    local newest
    newest="$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path "*/bin/$1" 2>/dev/null | sort -V | tail -1)"
    if [ -n "$newest" ]; then echo "$newest"; else command -v "$1"; fi
}

# --- Kafka, natively. ------------------------------------------------------------------------

kafka_jars() { echo "${HEADWATER_KAFKA_JARS:-$directory/kafka-$KAFKA_VERSION}"; }

fetch_kafka() {
    local jars
    jars="$(kafka_jars)"
    [ ! -d "$jars" ] || return 0
    need has_maven maven
    say "fetching Kafka $KAFKA_VERSION with Maven"
    rm -rf "$jars.part"
    mkdir -p "$jars.part"
    cat >"$directory/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>headwater</groupId>
  <artifactId>services</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_$SCALA_VERSION</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-reload4j</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
    mvn --batch-mode --quiet --file "$directory/pom.xml" \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory="$jars.part" </dev/null >"$directory/maven.log" 2>&1 || {
        tail -20 "$directory/maven.log" >&2
        fail "Maven could not fetch Kafka $KAFKA_VERSION"
    }
    mv "$jars.part" "$jars"
}

write_kafka_config() {
    local port="$1" controller_port="$2"
    cat >"$directory/kafka/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller_port
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$directory/kafka/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
message.max.bytes=33554432
replica.fetch.max.bytes=33554432
PROPERTIES
    cat >"$directory/kafka/log4j.properties" <<PROPERTIES
log4j.rootLogger=WARN, stdout
log4j.logger.kafka.server=INFO
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=%d %p %m (%c)%n
PROPERTIES
}

# A random cluster id: 16 bytes in URL-safe base64. A leading dash would look like a flag.
cluster_id() { head -c 16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' | sed 's/^-/A/'; }

# Replaces the current (sub)shell by a Java program, so that its pid is the program's own; in a
# session of its own, so that a Ctrl-C meant for the caller does not reach it.
exec_kafka() {
    local heap="$1"
    shift
    exec setsid java "-Xmx$heap" -XX:+UseG1GC -Djava.awt.headless=true \
        "-Dlog4j.configuration=file:$directory/kafka/log4j.properties" \
        -cp "$(kafka_jars)/*" "$@"
}

kafka_native_up() {
    local log="$directory/kafka/kafka.log"
    need has_java default-jre-headless
    fetch_kafka
    mkdir -p "$directory/kafka"
    write_kafka_config "$(recall kafka-port)" "$(free_port $(($(recall kafka-port) + 1)))"
    if [ ! -e "$directory/kafka/data/meta.properties" ]; then
        (exec_kafka 256m kafka.tools.StorageTool format --cluster-id "$(cluster_id)" \
            --config "$directory/kafka/server.properties") </dev/null >"$log" 2>&1 || {
            tail -20 "$log" >&2
            fail "Kafka's storage could not be formatted"
        }
    fi
    (exec_kafka 768m kafka.Kafka "$directory/kafka/server.properties") </dev/null >>"$log" 2>&1 9>&- &
    remember kafka-pid "$!"
    remember kafka native
    wait_until kafka_answers kafka_runs || {
        tail -40 "$log" >&2
        fail "Kafka did not start within $WAIT_SECONDS s; its log is $log"
    }
}

# --- Postgres, natively. ---------------------------------------------------------------------

postgres_runs() { as_postgres_user "$(postgres_program pg_ctl)" status --pgdata "$directory/postgres/data" >/dev/null 2>&1; }

stop_postgres() {
    if has_postgres && postgres_runs; then
        as_postgres_user "$(postgres_program pg_ctl)" stop --pgdata "$directory/postgres/data" \
            --mode fast --wait --timeout 60 </dev/null >/dev/null
    fi
}

create_database_directory() {
    local home="$directory/postgres"
    mkdir -p "$home"
    printf '%s\n' "$DATABASE_PASSWORD" >"$home/password"
    if is_root; then chown -R "$(postgres_user)" "$home"; fi
    as_postgres_user "$(postgres_program initdb)" --pgdata "$home/data" --username "$DATABASE_USER" \
        --pwfile "$home/password" --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 </dev/null >&2
    # Loopback TCP only: no socket in a shared directory.
    as_postgres_user tee -a "$home/data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
CONF
}

create_database() {
    local psql maintenance
    psql="$(postgres_program psql)"
    maintenance="$(own_database_url)"
    maintenance="${maintenance%/*}/postgres"
    "$psql" --no-psqlrc --quiet --tuples-only --no-align --dbname "$maintenance" </dev/null \
        --command "select 1 from pg_database where datname = 'headwater'" | grep -q 1 ||
        "$psql" --no-psqlrc --quiet --dbname "$maintenance" --command 'create database headwater' </dev/null
}

postgres_native_up() {
    local home="$directory/postgres"
    need has_postgres postgresql
    if [ ! -e "$home/data/PG_VERSION" ]; then
        rm -rf "$home/data"
        create_database_directory >"$directory/initdb.log" 2>&1 || {
            tail -20 "$directory/initdb.log" >&2
            fail "Postgres' data directory could not be created"
        }
    fi
    remember postgres native
    as_postgres_user "$(postgres_program pg_ctl)" start --pgdata "$home/data" --log "$home/postgres.log" \
        --wait --timeout "$WAIT_SECONDS" --options "-p $(recall postgres-port)" </dev/null >/dev/null 2>&1 9>&- || {
        tail -40 "$home/postgres.log" >&2
        fail "Postgres did not start; its log is $home/postgres.log"
    }
    create_database
    wait_until postgres_answers always || fail "Postgres does not answer; its log is $home/postgres.log"
}

# --- Commands. -------------------------------------------------------------------------------

up_kafka() {
    if [ -n "$(given_brokers)" ]; then
        wait_until kafka_answers always || fail "KAFKA_BROKERS=$KAFKA_BROKERS does not answer"
        say "Kafka: using KAFKA_BROKERS=$KAFKA_BROKERS"
        return
    fi
    if started_kafka && kafka_answers; then
        say "Kafka: already up at $(own_brokers)"
        return
    fi
    stop_process kafka-pid
    remember kafka-port "${HEADWATER_KAFKA_PORT:-$(free_port 19092)}"
    if docker_answers; then docker_up kafka; else kafka_native_up; fi
    say "Kafka: started ($(recall kafka)) at $(own_brokers)"
}

up_postgres() {
    if [ -n "$(given_database_url)" ]; then
        wait_until postgres_answers always || fail "DATABASE_URL=$(without_password "$DATABASE_URL") does not answer"
        say "Postgres: using DATABASE_URL=$(without_password "$DATABASE_URL")"
        return
    fi
    if started_postgres && postgres_answers; then
        say "Postgres: already up at $(without_password "$(own_database_url)")"
        return
    fi
    if [ "$(recall postgres)" = native ]; then stop_postgres; fi
    remember postgres-port "${HEADWATER_POSTGRES_PORT:-$(free_port 15432)}"
    if docker_answers; then docker_up postgres; else postgres_native_up; fi
    say "Postgres: started ($(recall postgres)) at $(without_password "$(own_database_url)")"
}

up() {
    up_kafka
    up_postgres
}

kafka_native_down() {
    stop_process kafka-pid
    if [ "${KEEP_DATA:-0}" != 1 ]; then rm -rf "$directory/kafka"; fi
}

postgres_native_down() {
    stop_postgres
    if [ "${KEEP_DATA:-0}" != 1 ]; then rm -rf "$directory/postgres"; fi
}

down() {
    if [ "$(recall kafka)" = native ]; then kafka_native_down; fi
    if [ "$(recall postgres)" = native ]; then postgres_native_down; fi
    case "$(recall kafka) $(recall postgres)" in
    *docker*) docker_down ;;
    esac
    if started_kafka; then say "Kafka: stopped"; fi
    if started_postgres; then say "Postgres: stopped"; fi
    rm -rf "$directory/state"
    if [ "${KEEP_DATA:-0}" != 1 ]; then remove_rest; fi
}

# Everything that `up` makes, data of an earlier KEEP_DATA=1 too. Jars in a place of their own
# (HEADWATER_KAFKA_JARS) stay. The directory may hold more than ours: it goes only when it is empty.
remove_rest() {
    rm -rf "$directory/kafka" "$directory/postgres"
    rm -rf "$directory/kafka-$KAFKA_VERSION" "$directory/kafka-$KAFKA_VERSION.part"
    rm -f "$directory/pom.xml" "$directory/maven.log" "$directory/initdb.log" "$directory/lock"
    rmdir "$directory" 2>/dev/null || true
}

status() {
    local code=0
    if kafka_answers; then say "Kafka: up at $(brokers)"; else
        say "Kafka: down"
        code=1
    fi
    if postgres_answers; then say "Postgres: up at $(without_password "$(database_url)")"; else
        say "Postgres: down"
        code=1
    fi
    return "$code"
}

print_env() {
    local brokers url
    brokers="$(brokers)"
    url="$(database_url)"
    [ -n "$brokers" ] && [ -n "$url" ] || fail "not up: run scripts/services.sh up"
    printf 'export KAFKA_BROKERS=%q\nexport DATABASE_URL=%q\n' "$brokers" "$url"
    # What config/discovery.toml reads.
    printf 'export HEADWATER_BROKERS=%q\nexport HEADWATER_DATABASE_URL=%q\n' "$brokers" "$url"
    # Others that are started beside this one need not fetch them again.
    if [ "$(recall kafka)" = native ]; then printf 'export HEADWATER_KAFKA_JARS=%q\n' "$(kafka_jars)"; fi
}

# --- One of the two, for tests of outages. ---------------------------------------------------

# The processes of one that runs natively.
processes_of() {
    local first
    case "$1" in
    kafka) recall kafka-pid ;;
    postgres)
        first="$(head -1 "$directory/postgres/data/postmaster.pid")"
        # The parent last, so that it starts no further ones meanwhile.
        cat "/proc/$first/task/$first/children" 2>/dev/null || true
        echo "$first"
        ;;
    esac
}

signal_native() {
    local pids
    pids="$(processes_of "$2")"
    # shellcheck disable=SC2086 # several words
    kill "-$1" $pids
}

stop_native() { if [ "$1" = kafka ]; then stop_process kafka-pid; else stop_postgres; fi; }
start_native() { if [ "$1" = kafka ]; then kafka_native_up; else postgres_native_up; fi; }

one() {
    local action="$1" service="$2" how
    case "$service" in kafka | postgres) ;; *) fail "which: kafka or postgres?" ;; esac
    how="$(recall "$service")"
    [ -n "$how" ] || fail "$service was not started from here"
    case "$how $action" in
    "native stop") stop_native "$service" ;;
    "native start") start_native "$service" ;;
    "native pause") signal_native STOP "$service" ;;
    "native resume") signal_native CONT "$service" ;;
    "docker start") docker_up "$service" ;;
    "docker stop") compose stop "$service" </dev/null >&2 ;;
    "docker pause") compose pause "$service" </dev/null >&2 ;;
    "docker resume") compose unpause "$service" </dev/null >&2 ;;
    esac
}

# One `up` or `down` at a time. `down` removes the lock: whoever waited for it locks a new one.
locked() {
    until [ "$directory/lock" -ef /proc/self/fd/9 ]; do
        make_directory
        { exec 9>"$directory/lock"; } 2>/dev/null || continue
        flock 9
    done
    "$@"
}

case "${1:-}" in
up) locked up ;;
down) if [ -d "$directory" ]; then locked down; fi ;;
stop | start | pause | resume) locked one "$1" "${2:-}" ;;
status) status ;;
env) print_env ;;
*)
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
