import { execFile } from 'node:child_process'
import { chmodSync, chownSync, cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { silentLogger } from '../../packages/telemetry/src/index.js'
import { REPOSITORY } from '../../e2e/platform.js'
import { readClientSettings } from '../../apps/stager/src/client-settings.js'

const execute = promisify(execFile)
const IMAGE = process.env['BLOOMERY_STACK_IMAGE'] ?? 'bloomery/stack:bookworm'
const BUNDLE = '/etc/ssl/certs/ca-certificates.crt'
const VCAP = 2000
/** What buildpacks share. */
const SHARED = join(REPOSITORY, 'buildpacks/shared/lib')

/** What one would call by hand in the same image, with nothing cached, where staging calls a buildpack. */
export interface BareTool {
  readonly language: string
  readonly example: string
  /** A file of the app that a developer changes, and how a comment begins there. */
  readonly source: string
  readonly comment: string
  run(app: string): Promise<unknown>
}

interface Definition extends Omit<BareTool, 'run'> {
  /** Names of runtimes in the stager's store that the tool needs. */
  readonly needs: readonly string[]
  readonly command: (runtimes: ReadonlyMap<string, string>) => string
}

const DEFINITIONS: readonly Definition[] = [
  {
    language: 'node',
    example: 'express-app',
    source: 'server.js',
    comment: '//',
    needs: ['node', 'npm'],
    command: (at) =>
      `export PATH=${at.get('node')}/bin:$PATH; node ${at.get('npm')}/bin/npm-cli.js ci --omit=dev --no-audit --no-fund`,
  },
  {
    language: 'python',
    example: 'flask-app',
    source: 'app.py',
    comment: '#',
    needs: [],
    command: () => 'python3 -m venv /tmp/venv && /tmp/venv/bin/pip install --no-cache-dir -r requirements.txt',
  },
  {
    language: 'java',
    example: 'java-app',
    source: 'src/main/java/com/example/Application.java',
    comment: '//',
    // Maven and a JDK are the image's own; mirrors are those of this machine, as in staging.
    needs: [],
    command: () =>
      `PYTHONPATH=/shared python3 -c "from pathlib import Path; from bloomery import maven; maven.write_settings(Path('/tmp/settings.xml'))"; ` +
      'mvn -q -B -DskipTests $(ls /tmp/settings.xml 2>/dev/null | sed "s/^/-s /") -Dmaven.repo.local=/tmp/m2 package',
  },
  {
    language: 'go',
    example: 'go-app',
    source: 'main.go',
    comment: '//',
    needs: ['go'],
    command: (at) =>
      `export GOROOT=${at.get('go')} GOTOOLCHAIN=local GOCACHE=/tmp/go-cache GOPATH=/tmp/go; $GOROOT/bin/go build -o /tmp/app .`,
  },
]

/** Those whose runtimes are there once `warmUp` has staged their example; the others are left out with the reason. */
export async function bareTools(
  home: string,
  warmUp: (language: string, example: string) => Promise<void>,
  leftOut: string[],
  only: readonly string[] | undefined,
): Promise<BareTool[]> {
  const store = join(home, 'stager/runtimes')
  const settings = await readClientSettings({}, silentLogger)
  const tools: BareTool[] = []
  for (const definition of DEFINITIONS) {
    if (only && !only.includes(definition.language)) continue
    try {
      await warmUp(definition.language, definition.example)
    } catch (error) {
      leftOut.push(`${definition.language}: its example could not be staged: ${String(error)}`)
      continue
    }
    const present = new Map(
      readdirSync(store)
        .filter((name) => !name.startsWith('.') && !name.endsWith('.droplet'))
        .map((name) => [name.replace(/-\d.*$/, ''), `/runtimes/${name}`] as const),
    )
    const missing = definition.needs.filter((need) => !present.has(need))
    if (missing.length > 0) {
      leftOut.push(
        `${definition.language}: no ${missing.join(', ')} in the store of runtimes (${[...present.keys()].join(', ')})`,
      )
      continue
    }
    const { needs: _needs, command, ...tool } = definition
    tools.push({ ...tool, run: (app) => inImage(app, store, command(present), settings.environment) })
  }
  return tools
}

async function inImage(
  app: string,
  store: string,
  command: string,
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), 'bloomery-bare-'))
  try {
    cpSync(app, work, { recursive: true })
    chmodSync(work, 0o777)
    chownSync(work, VCAP, VCAP)
    const names = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'PIP_CERT', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'GIT_SSL_CAINFO']
    const variables = { ...environment, ...Object.fromEntries(names.map((name) => [name, BUNDLE])), HOME: '/tmp' }
    await execute(
      'docker',
      [
        ...['run', '--rm', '-u', `${VCAP}:${VCAP}`, '-w', '/app'],
        ...['-v', `${work}:/app`, '-v', `${store}:/runtimes:ro`, '-v', '/etc/ssl/certs:/etc/ssl/certs:ro'],
        ...['-v', `${SHARED}:/shared:ro`],
        ...Object.entries(variables).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
        ...[IMAGE, 'bash', '-c', command],
      ],
      { maxBuffer: 64 * 1024 * 1024 },
    )
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
