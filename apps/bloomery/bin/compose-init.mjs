#!/usr/bin/env node
// `npm run compose:init`: what docker-compose.yml needs on this machine and what is not for a repository to hold: secrets in
// .bloomery-compose/, settings in .env, the stack image. Safe to call again: what is there stays. Plain Node, nothing installed.
//   --no-stack      leaves the stack image alone
import { spawnSync } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildStack, StackBuildError } from '../../../stacks/build.mjs'

const root = process.env.BLOOMERY_COMPOSE_FOLDER ?? fileURLToPath(new URL('../../..', import.meta.url))
const folder = join(root, '.bloomery-compose')

/** The folder is closed; its files are readable, because they are mounted into containers whose users differ. */
function makeSecrets() {
  const secrets = join(folder, 'secrets')
  mkdirSync(secrets, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  const secret = (name, make) => {
    const path = join(secrets, name)
    if (!existsSync(path)) writeFileSync(path, `${make()}\n`, { mode: 0o644 })
    return readFileSync(path, 'utf8').trim()
  }
  const password = () => randomBytes(24).toString('base64url')
  const postgres = secret('postgres-password', password)
  secret('database-url', () => process.env.DATABASE_URL || `postgres://bloomery:${postgres}@postgres:5432/bloomery`)
  const port = process.env.BLOOMERY_POSTGRES_PORT || 8095
  secret('broker-database-url', () => process.env.DATABASE_URL || `postgres://bloomery:${postgres}@127.0.0.1:${port}/bloomery`)
  secret('broker-password', password)
  const redis = /^requirepass (.*)$/m.exec(
    secret('redis-conf', () => `requirepass ${password()}\nsave ""\nappendonly no\nmaxmemory-policy noeviction`),
  )?.[1]
  secret('redis-url', () => process.env.REDIS_URL || `redis://:${redis}@redis:6379`)
  secret('admin-password', () => process.env.BLOOMERY_ADMIN_PASSWORD || password())
  secret('keyring', () => JSON.stringify({ version: 1, current: 'k1', keys: { k1: randomBytes(32).toString('base64') } }))
}

/** How this machine's npm reaches its registry, for the image's build and the stager. Credentials are left out. */
function writeNpmSettings() {
  const target = join(folder, 'npm')
  mkdirSync(target, { recursive: true, mode: 0o755 })
  mkdirSync(join(folder, 'tls'), { recursive: true, mode: 0o755 })
  const asked = spawnSync('npm', ['config', 'list', '--json'], { encoding: 'utf8', cwd: root })
  const found = asked.status === 0 ? JSON.parse(asked.stdout) : {}
  const lines = []
  for (const [key, value] of Object.entries(found)) {
    if (value === null || value === '' || typeof value === 'object') continue
    if (['registry', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl'].includes(key) || /^@[^/]+:registry$/.test(key))
      lines.push(`${key}=${value}`)
  }
  const bundle = found.cafile ?? process.env.NODE_EXTRA_CA_CERTS
  if (bundle && existsSync(bundle)) {
    copyFileSync(bundle, join(target, 'ca.crt'))
    chmodSync(join(target, 'ca.crt'), 0o644)
    lines.push('cafile=/npm/ca.crt')
  }
  writeFileSync(join(target, 'npmrc'), `${lines.join('\n')}\n`, { mode: 0o644 })
}

/** Options without which this machine's apt would refuse its mirrors. */
function aptOptions() {
  const dump = spawnSync('apt-config', ['dump'], { encoding: 'utf8' }).stdout ?? ''
  const wanted = /^(Acquire::Check-Valid-Until|Acquire::Check-Date) "([\w.-]*)";$/gm
  return [...dump.matchAll(wanted)].map(([, name, value]) => `-o ${name}=${value}`).join(' ')
}

function engineFolder() {
  const asked = spawnSync('docker', ['info', '--format', '{{.DockerRootDir}}'], { encoding: 'utf8' })
  const found = (asked.stdout ?? '').trim()
  if (asked.status !== 0 || !found.startsWith('/'))
    throw new StackBuildError(
      `The Docker engine does not answer (${(asked.stderr || asked.error?.message || '').trim().split('\n')[0]}). Start it, then run this again.`,
    )
  return found
}

/** .env: what is there stays, what is missing is added. Settings given now in the environment are kept in it. */
function writeSettings() {
  const path = join(root, '.env')
  const text = existsSync(path) ? readFileSync(path, 'utf8') : ''
  const present = new Map([...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]))
  const wanted = new Map(
    Object.entries(process.env).filter(([name]) => /^BLOOMERY_(?!COMPOSE_FOLDER|HOME|ADMIN_PASSWORD|INSTALLATION_ID)/.test(name)),
  )
  const project = present.get('COMPOSE_PROJECT_NAME') ?? process.env.COMPOSE_PROJECT_NAME ?? 'bloomery'
  wanted.set('COMPOSE_PROJECT_NAME', project)
  wanted.set('BLOOMERY_INSTALLATION_ID', randomUUID())
  const volume = (name) => join(engineFolder(), 'volumes', `${project}_${name}`, '_data')
  if (!wanted.has('BLOOMERY_MACHINE_FOLDER')) wanted.set('BLOOMERY_MACHINE_FOLDER', volume('machine'))
  if (!wanted.has('BLOOMERY_BLOBS_FOLDER')) wanted.set('BLOOMERY_BLOBS_FOLDER', volume('blobs'))
  if (process.env.BLOBSTORE_URL) wanted.set('BLOBSTORE_URL', process.env.BLOBSTORE_URL)
  wanted.set('BLOOMERY_STAGER_BLOBSTORE_URL', process.env.BLOBSTORE_URL || `file:${wanted.get('BLOOMERY_BLOBS_FOLDER')}`)
  if (!wanted.has('BLOOMERY_APT_OPTIONS') && aptOptions()) wanted.set('BLOOMERY_APT_OPTIONS', aptOptions())
  const added = [...wanted].filter(([name, value]) => value !== '' && !present.has(name))
  if (added.length > 0)
    writeFileSync(path, `${text}${text && !text.endsWith('\n') ? '\n' : ''}${added.map(([n, v]) => `${n}=${v}\n`).join('')}`)
  return new Map([...added, ...present])
}

try {
  const settings = writeSettings()
  makeSecrets()
  writeNpmSettings()
  if (!process.argv.includes('--no-stack'))
    await buildStack({
      ...(settings.has('BLOOMERY_STACK_IMAGE') && { image: settings.get('BLOOMERY_STACK_IMAGE') }),
      onProgress: (line) => console.log(line),
    })
  const port = settings.get('BLOOMERY_HTTP_PORT') ?? '8080'
  console.log(`Ready. Secrets lie in ${folder}, settings in ${join(root, '.env')}.

  docker compose up -d --build
  cf api http://localhost:${port}
  docker compose exec broker node apps/bloomery/dist/register-broker.entry.js   # once all are healthy: the bundled services
  cf login -u admin -p "$(cat .bloomery-compose/secrets/admin-password)" -o bloomery -s dev`)
} catch (error) {
  console.error(error instanceof StackBuildError ? error.message : error)
  process.exit(1)
}
