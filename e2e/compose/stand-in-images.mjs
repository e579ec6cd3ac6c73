#!/usr/bin/env node
// Makes the images that docker-compose.yml takes from a registry out of Debian's packages, under the same names and with as much of
// the same behaviour as the file asks for: for trying it on a machine whose engine reaches no registry. Not for production.
//   node e2e/compose/stand-in-images.mjs        makes those that are neither there nor to be pulled
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const BASE = 'debian:bookworm-slim'
const root = fileURLToPath(new URL('../..', import.meta.url))
const docker = (...args) => spawnSync('docker', args, { encoding: 'utf8', env: { ...process.env, DOCKER_BUILDKIT: '0' } })
const isThere = (image) => docker('image', 'inspect', image).status === 0

const INSTALL = (packages) =>
  `ARG APT_OPTIONS=""\nRUN export DEBIAN_FRONTEND=noninteractive && apt-get $APT_OPTIONS -qq update && apt-get $APT_OPTIONS -qq -y --no-install-recommends install ${packages} >/dev/null && rm -rf /var/lib/apt/lists/*`

const images = {
  // This machine's own Node.js and npm.
  'node:20-bookworm-slim': {
    dockerfile: `FROM ${BASE}\n${INSTALL('libstdc++6 ca-certificates')}
COPY node /usr/local/bin/node
COPY npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \\
 && groupadd --gid 1000 node && useradd --uid 1000 --gid node --shell /bin/bash --create-home node
CMD ["node"]`,
    fill: (folder) => {
      cpSync(realpathSync(process.execPath), join(folder, 'node'))
      const npm = join(execFileSync('npm', ['root', '-g'], { encoding: 'utf8' }).trim(), 'npm')
      cpSync(realpathSync(npm), join(folder, 'npm'), { recursive: true })
    },
  },
  'postgres:15-bookworm': {
    dockerfile: `FROM ${BASE}\n${INSTALL('postgresql-15 gosu')}
ENV PATH=/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
RUN install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/data
COPY docker-entrypoint.sh /usr/local/bin/
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
ENTRYPOINT ["sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["postgres"]`,
    fill: (folder) =>
      writeFileSync(
        join(folder, 'docker-entrypoint.sh'),
        `set -e
if [ "$(id -u)" = 0 ]; then
  chown postgres:postgres "$PGDATA"; chmod 700 "$PGDATA"
  install -d -o postgres -g postgres /var/run/postgresql
  [ ! -s "\${POSTGRES_PASSWORD_FILE:-/dev/null}" ] || { POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); export POSTGRES_PASSWORD; }
  exec gosu postgres sh "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
  initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 -E UTF8 --locale=C.UTF-8 >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl -w -s -o "-c listen_addresses=''" start
  [ "$POSTGRES_DB" = postgres ] || createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
  pg_ctl -w -s -m fast stop
fi
unset POSTGRES_PASSWORD
exec "$@" -c listen_addresses='*'
`,
      ),
  },
  'redis:7.0-bookworm': {
    dockerfile: `FROM ${BASE}\n${INSTALL('redis-server gosu')}
WORKDIR /data
RUN chown redis:redis /data
COPY docker-entrypoint.sh /usr/local/bin/
ENTRYPOINT ["sh", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["redis-server"]`,
    fill: (folder) =>
      writeFileSync(
        join(folder, 'docker-entrypoint.sh'),
        'if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then exec gosu redis "$@"; fi\nexec "$@"\n',
      ),
  },
}

/** Options that this machine's apt needs for its mirrors (snapshots are old by nature). */
export function aptOptions() {
  const dump = spawnSync('apt-config', ['dump'], { encoding: 'utf8' }).stdout ?? ''
  const wanted = /^(Acquire::Check-Valid-Until|Acquire::Check-Date) "([\w.-]*)";$/gm
  return [...dump.matchAll(wanted)].map(([, name, value]) => `-o ${name}=${value}`).join(' ')
}

/** Makes what is missing; throws where it cannot. */
export function ensureStandIns(say = console.log) {
  for (const [image, { dockerfile, fill }] of Object.entries(images)) {
    if (isThere(image) || docker('pull', '--quiet', image).status === 0) continue
    if (!isThere(BASE)) {
      say(`${BASE} is missing; the stack image's build makes it`)
      execFileSync(process.execPath, [join(root, 'stacks/build.mjs')], { stdio: 'ignore' })
    }
    say(`${image} cannot be pulled; making a stand-in`)
    const folder = mkdtempSync(join(tmpdir(), 'bloomery-stand-in-'))
    try {
      mkdirSync(folder, { recursive: true })
      writeFileSync(join(folder, 'Dockerfile'), `${dockerfile}\n`)
      fill(folder)
      const built = docker('build', '-q', '--build-arg', `APT_OPTIONS=${aptOptions()}`, '-t', image, folder)
      if (built.status !== 0) throw new Error(`${image}: ${built.stdout}${built.stderr}`)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

if (process.argv[1] && dirname(fileURLToPath(import.meta.url)) === dirname(realpathSync(process.argv[1]))) ensureStandIns()
