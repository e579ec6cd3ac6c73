#!/usr/bin/env node
// Records what the real client sends, and the shape of what it was content with: one file per command in exchanges/.
// Usage: node e2e/cf-contract/record.mjs --api http://localhost:8080 --password PASSWORD    (a `cf` on PATH, a fresh platform)
// The replay (replay.test.ts) then needs no cf: compatibility is tested everywhere.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { SESSION, FILES } from './session.mjs'

const argument = (name) => process.argv[process.argv.indexOf(name) + 1]
const target = new URL(argument('--api'))
const password = argument('--password')
const folder = join(dirname(fileURLToPath(import.meta.url)), 'exchanges')

/** guid → placeholder, over the whole session. */
const names = new Map()
const GUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}(?:[0-9a-f]{8})?/g
const hide = (text) =>
  text
    .replaceAll(GUID, (guid) => names.get(guid) ?? guid)
    .replaceAll(password, '{{password}}')
    .replace(/refresh_token=[^&]+/, 'refresh_token={{refresh_token}}')
const captures = (value, pointer = '', found = {}) => {
  if (typeof value === 'string' && new RegExp(`^${GUID.source}$`).test(value) && !names.has(value)) {
    names.set(value, `{{guid${names.size + 1}}}`)
    found[pointer] = names.get(value)
  } else if (value && typeof value === 'object')
    for (const [key, each] of Object.entries(value)) captures(each, `${pointer}/${key}`, found)
  return found
}
/** What kind of value stands where; of a list, its first element. */
export const shape = (value) => {
  if (Array.isArray(value)) return value.length ? [shape(value[0])] : []
  if (value && typeof value === 'object')
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shape(each)]))
  return value === null ? 'null' : typeof value
}

let exchanges = []
const proxy = http.createServer((request, response) => {
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => {
    const body = Buffer.concat(chunks)
    const forward = http.request(
      { host: '127.0.0.1', port: target.port, path: request.url, method: request.method, headers: request.headers },
      (answer) => {
        const parts = []
        answer.on('data', (chunk) => parts.push(chunk))
        answer.on('end', () => {
          const bytes = Buffer.concat(parts)
          response.writeHead(answer.statusCode, answer.headers).end(bytes)
          const type = request.headers['content-type'] ?? ''
          let json
          try {
            json = JSON.parse(bytes.toString())
          } catch {
            /* YAML or nothing */
          }
          const path = hide(request.url)
          const sent = type.startsWith('multipart/')
            ? { base64: body.toString('base64') }
            : body.length
              ? { text: hide(body.toString()) }
              : undefined
          exchanges.push({
            method: request.method,
            path,
            headers: Object.fromEntries(
              ['content-type', 'accept'].flatMap((name) => (request.headers[name] ? [[name, request.headers[name]]] : [])),
            ),
            authorization: request.headers.authorization?.split(' ')[0]?.toLowerCase() ?? null,
            ...(sent ? { body: sent } : {}),
            answer: {
              status: answer.statusCode,
              job: Boolean(answer.headers.location?.includes('/v3/jobs/')),
              ...(json === undefined
                ? {}
                : {
                    captures: captures(json),
                    shape: shape(json),
                    state: json.state ?? json.status?.value ?? json.resources?.[0]?.state,
                  }),
              ...(answer.headers.location
                ? { locationCaptures: captures(answer.headers.location.split('/').pop(), 'location') }
                : {}),
            },
          })
        })
      },
    )
    forward.on('error', (error) => response.writeHead(502).end(String(error)))
    forward.end(body)
  })
})
await new Promise((done) => proxy.listen(0, '127.0.0.1', done))
const api = `http://localhost:${proxy.address().port}`
const home = mkdtempSync(join(tmpdir(), 'cf-record-'))
for (const [name, content] of Object.entries(FILES)) {
  mkdirSync(dirname(join(home, name)), { recursive: true })
  writeFileSync(join(home, name), content)
}

for (const name of readdirSync(folder)) rmSync(join(folder, name))
let number = 0
for (const { args, expect = 0 } of SESSION) {
  exchanges = []
  const words = args.map((word) => word.replace('{{api}}', api).replace('{{password}}', password))
  const code = await new Promise((done) => {
    const child = spawn('cf', words, {
      cwd: home,
      env: { ...process.env, CF_HOME: home, CF_COLOR: 'false' },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    child.on('close', (status) => {
      if (status !== expect) console.log(`cf ${args.join(' ')} ended with ${status}, expected ${expect}:\n${output}`)
      done(status)
    })
  })
  number++
  const file = `${String(number).padStart(3, '0')}-${args[0]}.json`
  writeFileSync(
    join(folder, file),
    `${JSON.stringify({ command: ['cf', ...args], exit: code, exchanges: collapse(exchanges) }, null, 1)}\n`,
  )
  console.log(`${code === expect ? 'ok  ' : 'FAIL'} cf ${args.join(' ')} (${exchanges.length} requests)`)
}
proxy.close()
rmSync(home, { recursive: true, force: true })

/** Polls of one address become one, which the replay repeats until it has seen the same state. */
function collapse(all) {
  return all.filter((each, i) => {
    const next = all.slice(i + 1).find(({ path }) => !path.startsWith('/api/v1/'))
    if (each.path.startsWith('/api/v1/')) return all.findIndex(({ path }) => path.split('?')[0] === each.path.split('?')[0]) === i
    if (each.method === 'GET' && next?.path === each.path && next.method === 'GET') {
      // What the skipped answer named first must still be known later.
      next.answer.captures = { ...each.answer.captures, ...next.answer.captures }
      return false
    }
    return true
  })
}
