#!/usr/bin/env node
// Records what the real client sends, and the shape of what it was content with: one file per command in exchanges/.
// Usage: node e2e/cf-contract/record.mjs --api http://localhost:8080 --password PASSWORD
// (a `cf` on PATH, a fresh platform that was started with BLOOMERY_BROKER=off, BLOOMERY_BROKER_POLL_SECONDS=1 and
// BLOOMERY_TENANT_ADDRESSES=127.0.0.0/8)
// The replay (replay.test.ts) then needs no cf: compatibility is tested everywhere.
import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SESSION, FILES } from './session.mjs'
import { importTypeScript } from './typescript.mjs'

const argument = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined)
const [address, password] = [argument('--api'), argument('--password')]
if (!address || !password) {
  console.error('Usage: record.mjs --api http://localhost:8080 --password PASSWORD [--into FOLDER]')
  process.exit(1)
}
const target = new URL(address)
const folder = argument('--into') ?? join(dirname(fileURLToPath(import.meta.url)), 'exchanges')
const home = mkdtempSync(join(tmpdir(), 'cf-record-'))
const { read } = await importTypeScript('./reads.ts')
const { ScriptedBroker } = await importTypeScript('../../packages/osb/src/scripted-broker.fixture.ts')
const broker = await ScriptedBroker.start()

/** guid → placeholder, over the whole session. */
const names = new Map()
/** Port of a TCP route → placeholder; others are the session's own words. */
const ports = new Map()
const GUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}(?:[0-9a-f]{8})?/g
/** Nothing of this machine, this installation or its secrets is kept. */
/** Hosts that the platform draws for random routes: `app-adjective-noun-xy`. */
const DRAWN_ANYWHERE = /[a-z]+-[a-z]+-[a-z]+-[a-z]{2}\b/g
const DRAWN = new RegExp(`^${DRAWN_ANYWHERE.source}$`)
const hosts = new Map()
const hide = (text) =>
  text
    .replaceAll(GUID, (guid) => names.get(guid) ?? guid)
    .replaceAll(password, '{{password}}')
    .replaceAll(encodeURIComponent(password), '{{password}}')
    .replaceAll(home, '/home/somebody')
    .replaceAll(broker.url, '{{broker}}')
    .replaceAll(DRAWN_ANYWHERE, (host) => hosts.get(host) ?? host)
    .replaceAll(/((?:[?&]ports?=|"port":|\.test:|port '))(\d+)/g, (found, key, port) =>
      ports.has(port) ? key + ports.get(port) : found,
    )
    .replace(/refresh_token=[^&]+/, 'refresh_token={{refresh_token}}')
    .replace(
      /(\/oauth\/token\/revoke\/)\w+(-r)?$/,
      (_path, start, refresh) => `${start}{{${refresh ? 'refresh' : 'access'}_jti}}`,
    )
const captures = (value, pointer = '', found = {}) => {
  if (typeof value === 'string' && new RegExp(`^${GUID.source}$`).test(value) && !names.has(value)) {
    names.set(value, `{{guid${names.size + 1}}}`)
    found[pointer] = names.get(value)
  } else if (value && typeof value === 'object') {
    if (value.protocol === 'tcp' && typeof value.port === 'number' && 'destinations' in value && !ports.has(String(value.port))) {
      ports.set(String(value.port), `{{port${ports.size + 1}}}`)
      found[`${pointer}/port`] = ports.get(String(value.port))
    }
    if (typeof value.host === 'string' && DRAWN.test(value.host) && 'destinations' in value && !hosts.has(value.host)) {
      hosts.set(value.host, `{{host${hosts.size + 1}}}`)
      found[`${pointer}/host`] = hosts.get(value.host)
    }
    for (const [key, each] of Object.entries(value)) captures(each, `${pointer}/${key}`, found)
  }
  return found
}
/** What kind of value stands where; of a list, its first element. A map's keys are data where they name no field. */
const shape = (value, key = '') => {
  if (Array.isArray(value)) return value.length ? [shape(value[0])] : []
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value
  if (FREE_MAPS.has(key)) return {}
  const isEvent = 'actor' in value && 'target' in value
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, isEvent && name === 'data' ? {} : shape(each, name)]),
  )
}
const FREE_MAPS = new Set(['labels', 'annotations', 'environment_variables', 'VCAP_SERVICES', 'tags', 'var'])

/** Most answers have a shape that was seen before: each is kept once, and named. */
const shapes = new Map()
const nameOf = (found) => {
  const text = JSON.stringify(found)
  if (!shapes.has(text)) shapes.set(text, `shape${shapes.size + 1}`)
  return shapes.get(text)
}

const parsed = (bytes) => {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return undefined // YAML, or nothing
  }
}
const stateOf = (json) => json?.state ?? json?.status?.value ?? json?.resources?.[0]?.state
const bodyOf = (type, body) => {
  if (body.length === 0) return {}
  return { body: type.startsWith('multipart/') ? { base64: body.toString('base64') } : { text: hide(body.toString()) } }
}

/** What names other things by number or guid is only compared where it was named before. */
const hidden = (found) => (Object.keys(found).length === 0 ? undefined : JSON.parse(hide(JSON.stringify(found))))
let exchanges = []
let newestDroplet = ''
let onAnswered = () => undefined
const note = (request, body, answer, bytes) => {
  const json = parsed(bytes)
  // The placeholders that a path needs were given to the answers before it; those of this answer come after.
  const path = hide(request.url)
  const sent = bodyOf(request.headers['content-type'] ?? '', body)
  const { location } = answer.headers
  exchanges.push({
    method: request.method,
    path,
    headers: Object.fromEntries(
      ['content-type', 'accept'].flatMap((name) => (request.headers[name] ? [[name, request.headers[name]]] : [])),
    ),
    authorization: request.headers.authorization?.split(' ')[0]?.toLowerCase() ?? null,
    ...sent,
    answer: {
      status: answer.statusCode,
      job: Boolean(location?.includes('/v3/jobs/')),
      ...(json === undefined
        ? {}
        : {
            captures: captures(json),
            shape: nameOf(shape(json)),
            state: stateOf(json),
            read: hidden(read(json)),
          }),
      ...(answer.headers['x-cf-warnings'] ? { warnings: hide(decodeURIComponent(answer.headers['x-cf-warnings'])) } : {}),
      ...(location ? { locationCaptures: captures(location.split('/').pop(), 'location') } : {}),
    },
  })
  if (path.startsWith('/v3/droplets?')) newestDroplet = hide(json?.resources?.at(-1)?.guid ?? '')
  onAnswered(`${request.method} ${request.url}`)
}
const proxy = http.createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    const { url: path, method, headers } = request
    const forward = http.request({ host: '127.0.0.1', port: target.port, path, method, headers }, (answer) => {
      const parts = []
      answer.on('data', (chunk) => parts.push(chunk))
      answer.on('end', () => {
        const bytes = Buffer.concat(parts)
        note(request, body, answer, bytes)
        response.writeHead(answer.statusCode, answer.headers).end(bytes)
      })
    })
    forward.on('error', (error) => response.writeHead(502).end(String(error)))
    forward.end(body)
  })
})
await new Promise((done) => proxy.listen(0, '127.0.0.1', done))
const api = `http://localhost:${proxy.address().port}`
for (const [name, content] of Object.entries(FILES)) {
  mkdirSync(dirname(join(home, name)), { recursive: true })
  writeFileSync(join(home, name), content)
  if (name.includes('/bin/')) chmodSync(join(home, name), 0o755)
}

const cf = ({ args, until }) =>
  new Promise((done) => {
    const child = spawn('cf', args, {
      cwd: home,
      env: { ...process.env, CF_HOME: home, CF_COLOR: 'false' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const [before, after] = (until ?? '').split('{{any}}')
    onAnswered = (asked) => {
      if (until && asked.startsWith(before) && asked.includes(after ?? '')) child.kill('SIGINT')
    }
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    child.on('close', (status) => done({ status, output }))
  })

mkdirSync(folder, { recursive: true })
for (const name of readdirSync(folder)) rmSync(join(folder, name))
let [number, failed] = [0, 0]
let settings = {}
/** What the words of a command stand for; of droplets the newest. */
const fill = (word) => {
  const [port = ''] = [...ports].find(([, name]) => word.includes(name)) ?? []
  const [droplet = ''] = [...names].find(([, name]) => name === newestDroplet) ?? []
  return word
    .replace('{{api}}', api)
    .replace('{{password}}', password)
    .replace('{{broker}}', broker.url)
    .replace(/\{\{port\d+\}\}/, port)
    .replace('{{droplet}}', droplet)
}
for (const { args, expect, until, settings: changed } of SESSION) {
  if (changed) {
    settings = { ...settings, ...changed }
    Object.assign(broker, changed)
    continue
  }
  exchanges = []
  const words = args.map(fill)
  const { status, output } = await cf({ args: words, until })
  const ok = status === expect || until !== undefined
  if (!ok) failed++
  number++
  const kept = collapse(exchanges)
  // A line per exchange.
  const lines = [
    JSON.stringify({ command: ['cf', ...args], ...(Object.keys(settings).length > 0 ? { broker: settings } : {}) }),
    ...kept.map((each) => JSON.stringify(each)),
  ]
  settings = {}
  writeFileSync(join(folder, `${String(number).padStart(3, '0')}-${args[0]}.jsonl`), `${lines.join('\n')}\n`)
  console.log(`${ok ? 'ok  ' : 'FAIL'} cf ${args.join(' ')} (${kept.length} of ${exchanges.length} requests)`)
  if (!ok) console.log(`     ended with ${status}, expected ${expect}`)
  if (!ok || process.argv.includes('--verbose')) console.log(output.replaceAll(/^/gm, '     | '))
}
const named = [...shapes].map(([text, name]) => `${JSON.stringify(name)}:${text}`)
writeFileSync(join(folder, 'shapes.json'), `{\n${named.join(',\n')}\n}\n`)
proxy.close()
proxy.closeAllConnections()
rmSync(home, { recursive: true, force: true })
await broker.stop()
console.log(`${number} commands, ${failed} not as expected`)
process.exitCode = failed > 0 ? 1 : 0

/** Polls of one address become one, which the replay repeats until it has seen the same state. */
function collapse(all) {
  const address = ({ path }) => path.split('?')[0]
  return all.filter((each, i) => {
    // A tail reads its log over and over; the first of each kind says all.
    if (each.path.startsWith('/api/v1/')) return all.findIndex((other) => kindOfRead(other) === kindOfRead(each)) === i
    const next = all.slice(i + 1).find(({ path }) => !path.startsWith('/api/v1/'))
    if (each.method !== 'GET' || next?.method !== 'GET' || next.path !== each.path || !address(each)) return true
    // What the skipped answer named first must still be known later.
    next.answer.captures = { ...each.answer.captures, ...next.answer.captures }
    return false
  })
}
function kindOfRead({ path }) {
  const { pathname, searchParams } = new URL(path, 'http://any')
  return path.startsWith('/api/v1/') ? `${pathname} ${[...searchParams.keys()].sort().join()}` : path
}
