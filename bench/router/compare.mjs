#!/usr/bin/env node
// Alternating-rounds comparison of HTTP routers on one machine.
// Needs: Node >= 20, wrk, taskset. Uses nginx / haproxy when installed, and
// gorouter when both `gorouter` and `nats-server` are on PATH. See README.md.
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { execFileSync } from 'node:child_process'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const here = path.dirname(fileURLToPath(import.meta.url))

const SCENARIOS = {
  small50: { what: '1 KiB GET, 50 keep-alive connections', conns: 50, path: '/1k', host: 'app' },
  small500: { what: '1 KiB GET, 500 keep-alive connections', conns: 500, path: '/1k', host: 'app' },
  medium: { what: '100 KiB GET, 50 connections', conns: 50, path: '/100k', host: 'app' },
  large: { what: '10 MiB GET, 8 connections', conns: 8, path: '/10m', host: 'app' },
  upload: { what: '10 MiB POST, 8 connections', conns: 8, path: '/up', host: 'upload', upload: 10 * 1024 * 1024 },
  newconn: { what: '1 KiB GET, one request per connection, 50 at a time', conns: 50, path: '/1k', host: 'app', close: true },
  newtls: {
    what: '1 KiB GET over TLS, one request per connection, 50 at a time',
    conns: 50,
    path: '/1k',
    host: 'app',
    close: true,
    tls: true,
  },
}

function usage(code) {
  console.log(`usage: compare.mjs [options]
  --target name=N,port=P[,tls=P][,pid=PID]      a router that is already running (repeatable)
  --spawn  name=N,port=P[,tls=P],cmd=COMMAND    a router this script starts, pinned to the router core(s);
                                        cmd= must come last and takes the rest of the argument (repeatable)
  --subjects LIST     built-in subjects (default: all found): nginx,haproxy,gorouter,gorouter-log
  --scenarios LIST    default ${Object.keys(SCENARIOS).join(',')}
  --rounds N          default 5        --duration S  seconds per load run, default 5 (max 30)
  --load-core C       default 0        --router-core C  default 1 (a taskset list; "none" = do not pin)
  --backend-port P    default 19001; the upload sink listens on P+1
  --base-port P       default 19100 (built-in subjects)
  --reference NAME    denominator of the ratios (default: gorouter-log, gorouter, nginx, first subject)
  --max-noise F       default 0.15: repeat a run (up to 2 times) when other processes took more than this
                      share of the router core or load core
  --json FILE         also write every single measurement
  --serve-backend     only start the backends and wait (to register routes by hand)
  --app-host H        default app.example.test   --upload-host H  default upload.example.test`)
  process.exit(code)
}

const opt = {
  targets: [],
  spawns: [],
  subjects: null,
  scenarios: Object.keys(SCENARIOS),
  rounds: 5,
  duration: 5,
  loadCore: '0',
  routerCore: '1',
  backendPort: 19001,
  basePort: 19100,
  reference: null,
  json: null,
  maxNoise: 0.15,
  serve: false,
  appHost: 'app.example.test',
  uploadHost: 'upload.example.test',
}
function kv(s) {
  const out = {}
  const ci = s.indexOf('cmd=')
  const head = ci >= 0 ? s.slice(0, ci) : s
  if (ci >= 0) out.cmd = s.slice(ci + 4)
  for (const part of head.split(',')) {
    if (!part) continue
    const i = part.indexOf('=')
    out[part.slice(0, i)] = part.slice(i + 1)
  }
  return out
}
const argv = process.argv.slice(2)
for (let i = 0; i < argv.length; i++) {
  const next = () => {
    if (i + 1 >= argv.length) usage(2)
    return argv[++i]
  }
  switch (argv[i]) {
    case '--target':
      opt.targets.push(kv(next()))
      break
    case '--spawn':
      opt.spawns.push(kv(next()))
      break
    case '--subjects':
      opt.subjects = next().split(',').filter(Boolean)
      break
    case '--scenarios':
      opt.scenarios = next().split(',').filter(Boolean)
      break
    case '--rounds':
      opt.rounds = Number(next())
      break
    case '--duration':
      opt.duration = Math.min(30, Number(next()))
      break
    case '--load-core':
      opt.loadCore = next()
      break
    case '--router-core':
      opt.routerCore = next()
      break
    case '--backend-port':
      opt.backendPort = Number(next())
      break
    case '--base-port':
      opt.basePort = Number(next())
      break
    case '--reference':
      opt.reference = next()
      break
    case '--max-noise':
      opt.maxNoise = Number(next())
      break
    case '--json':
      opt.json = next()
      break
    case '--serve-backend':
      opt.serve = true
      break
    case '--app-host':
      opt.appHost = next()
      break
    case '--upload-host':
      opt.uploadHost = next()
      break
    case '-h':
    case '--help':
      usage(0)
      break
    default:
      console.error('unknown option ' + argv[i])
      usage(2)
  }
}
for (const s of opt.scenarios)
  if (!SCENARIOS[s]) {
    console.error('unknown scenario ' + s)
    usage(2)
  }

function which(bin) {
  for (const d of (process.env.PATH || '').split(':').concat('/usr/sbin', '/sbin')) {
    const p = path.join(d, bin)
    try {
      fs.accessSync(p, fs.constants.X_OK)
      return p
    } catch {
      /* next */
    }
  }
  return null
}
const WRK = which('wrk')
const NGINX = which('nginx')
const HAPROXY = which('haproxy')
const GOROUTER = which('gorouter')
const NATS = which('nats-server')
if (!WRK || !which('taskset')) {
  console.error('wrk and taskset (util-linux) are required')
  process.exit(1)
}

const tmp = fs.mkdtempSync(path.join(os.tmpdir(), 'router-compare-'))
fs.chmodSync(tmp, 0o755)
const children = []
function pinned(core, cmd, args, env = {}) {
  const full = core === 'none' ? [cmd, ...args] : ['taskset', '-c', core, cmd, ...args]
  const log = fs.openSync(path.join(tmp, path.basename(cmd) + '-' + children.length + '.log'), 'a')
  const c = spawn(full[0], full.slice(1), { stdio: ['ignore', log, log], env: { ...process.env, ...env } })
  c.logPath = path.join(tmp, path.basename(cmd) + '-' + children.length + '.log')
  children.push(c)
  return c
}
let cleaned = false
function cleanup() {
  if (cleaned) return
  cleaned = true
  collectKids()
  for (const c of children.reverse()) {
    try {
      c.kill('SIGKILL')
    } catch {
      /* gone */
    }
    for (const p of c.kids || []) {
      try {
        process.kill(p, 'SIGKILL')
      } catch {
        /* gone */
      }
    }
  }
  try {
    fs.rmSync(tmp, { recursive: true, force: true })
  } catch {
    /* keep */
  }
}
process.on('exit', cleanup)
let onStop = null // once measuring has begun: print what there is
for (const s of ['SIGINT', 'SIGTERM'])
  process.on(s, () => {
    if (onStop) onStop()
    cleanup()
    process.exit(130)
  })
function collectKids() {
  for (const c of children) if (c.pid) c.kids = tree(c.pid).filter((p) => p !== c.pid)
}

// ---- process tree, CPU and memory from /proc ------------------------------------------------
function tree(pid) {
  const out = [pid]
  try {
    for (const t of fs.readdirSync(`/proc/${pid}/task`)) {
      const kids = fs.readFileSync(`/proc/${pid}/task/${t}/children`, 'utf8').trim()
      if (kids) for (const k of kids.split(' ')) out.push(...tree(Number(k)))
    }
  } catch {
    /* gone */
  }
  return out
}
function cpuSeconds(pid) {
  let t = 0
  for (const p of tree(pid)) {
    try {
      const f = fs.readFileSync(`/proc/${p}/stat`, 'utf8')
      const a = f.slice(f.lastIndexOf(')') + 2).split(' ')
      t += Number(a[11]) + Number(a[12])
    } catch {
      /* gone */
    }
  }
  return t / 100
}
function rssMiB(pid) {
  let t = 0
  for (const p of tree(pid)) {
    try {
      const m = /VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${p}/status`, 'utf8'))
      if (m) t += Number(m[1])
    } catch {
      /* gone */
    }
  }
  return t / 1024
}
// Pages that processes share count once in the sum of their proportional shares.
function pssMiB(pid) {
  let t = 0
  for (const p of tree(pid)) {
    try {
      const m = /^Pss:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${p}/smaps_rollup`, 'utf8'))
      if (m) t += Number(m[1])
    } catch {
      /* gone */
    }
  }
  return t / 1024
}
function coreTimes() {
  const out = {}
  for (const l of fs.readFileSync('/proc/stat', 'utf8').split('\n')) {
    const m = /^cpu(\d+) (.*)/.exec(l)
    if (m) {
      const v = m[2].split(' ').map(Number)
      out[m[1]] = { idle: v[3] + v[4], total: v.slice(0, 8).reduce((a, b) => a + b, 0) }
    }
  }
  return out
}
function busy(a, b, core) {
  if (!a[core] || !b[core]) return null
  const d = b[core].total - a[core].total
  return d > 0 ? 1 - (b[core].idle - a[core].idle) / d : null
}

// ---- readiness ------------------------------------------------------------------------------
function probe(port, host, p = '/1k') {
  return new Promise((resolve) => {
    const r = http.request({ host: '127.0.0.1', port, path: p, headers: { Host: host }, timeout: 2000, agent: false }, (res) => {
      let n = 0
      res.on('data', (c) => {
        n += c.length
      })
      res.on('end', () => resolve({ status: res.statusCode, n }))
      res.on('error', () => resolve(null))
    })
    r.on('error', () => resolve(null))
    r.on('timeout', () => {
      r.destroy()
      resolve(null)
    })
    r.end()
  })
}
async function waitReady(name, port, host, ms = 40000, log = null) {
  const end = Date.now() + ms
  let last = null
  while (Date.now() < end) {
    last = await probe(port, host)
    if (last && last.status === 200 && last.n === 1024) return true
    await sleep(200)
  }
  console.error(`${name}: not ready on port ${port} (last answer: ${JSON.stringify(last)})`)
  if (log) {
    try {
      console.error(fs.readFileSync(log, 'utf8').slice(-1500))
    } catch {
      /* no log */
    }
  }
  return false
}

// ---- one certificate for every subject ---------------------------------------------------------
const certificate = { crt: path.join(tmp, 'tls.crt'), key: path.join(tmp, 'tls.key'), pem: path.join(tmp, 'tls.pem') }
function makeCertificate() {
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      `/CN=${opt.appHost}`,
      '-addext',
      `subjectAltName=DNS:${opt.appHost},DNS:${opt.uploadHost}`,
      '-keyout',
      certificate.key,
      '-out',
      certificate.crt,
    ],
    { stdio: 'ignore' },
  )
  fs.writeFileSync(certificate.pem, fs.readFileSync(certificate.crt, 'utf8') + fs.readFileSync(certificate.key, 'utf8'))
}
const tlsPortOf = (port) => port + 500

// ---- backends -------------------------------------------------------------------------------
const bport = opt.backendPort
const sport = opt.backendPort + 1
async function startBackends() {
  const www = path.join(tmp, 'www')
  fs.mkdirSync(www)
  fs.chmodSync(www, 0o755)
  for (const [n, size] of [
    ['1k', 1024],
    ['100k', 102400],
    ['10m', 10485760],
  ])
    fs.writeFileSync(path.join(www, n), Buffer.alloc(size, 97))
  if (NGINX) {
    const conf = path.join(tmp, 'backend.conf')
    fs.writeFileSync(
      conf,
      `worker_processes 1; daemon off; pid ${tmp}/backend.pid; error_log ${tmp}/backend.err; ${process.getuid() === 0 ? 'user root;' : ''}
events { worker_connections 8192; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 3600s; sendfile on; tcp_nodelay on; tcp_nopush on; server_tokens off; open_file_cache max=100;
 client_body_temp_path ${tmp}/cb; proxy_temp_path ${tmp}/pt; fastcgi_temp_path ${tmp}/ft; uwsgi_temp_path ${tmp}/ut; scgi_temp_path ${tmp}/st;
 server { listen 127.0.0.1:${bport} backlog=4096; root ${www}; default_type application/octet-stream; etag off; } }
`,
    )
    pinned(opt.loadCore, NGINX, ['-c', conf, '-e', path.join(tmp, 'backend.err')])
  } else {
    console.log('nginx not found: using the Node backend (slower, so differences between fast routers shrink)')
    pinned(opt.loadCore, process.execPath, [path.join(here, 'backend.mjs'), 'files', String(bport), www])
  }
  pinned(opt.loadCore, process.execPath, [path.join(here, 'backend.mjs'), 'sink', String(sport)])
  if (!(await waitReady('backend', bport, 'x', 8000))) process.exit(1)
  if (!(await probe(sport, 'x', '/up'))) {
    await sleep(500)
    if (!(await probe(sport, 'x', '/up'))) {
      console.error('sink not ready')
      process.exit(1)
    }
  }
}

// ---- built-in subjects ----------------------------------------------------------------------
function nginxSubject(port) {
  const conf = path.join(tmp, 'proxy.conf')
  const up = (n, p) => `upstream ${n} { server 127.0.0.1:${p}; keepalive 600; keepalive_requests 1000000000; }`
  const srv = (h, n) =>
    `server { listen 127.0.0.1:${port}; listen 127.0.0.1:${tlsPortOf(port)} ssl; server_name ${h}; client_max_body_size 0; location / { proxy_pass http://${n}; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Vcap-Request-Id $request_id; proxy_request_buffering off; proxy_max_temp_file_size 0; add_header X-Vcap-Request-Id $request_id; } }`
  fs.writeFileSync(
    conf,
    `worker_processes 1; daemon off; pid ${tmp}/proxy.pid; error_log ${tmp}/proxy.err crit; ${process.getuid() === 0 ? 'user root;' : ''}
events { worker_connections 8192; }
http { access_log ${tmp}/nginx-access.log combined buffer=64k flush=1s; keepalive_requests 1000000000; keepalive_timeout 3600s; tcp_nodelay on;
 client_body_temp_path ${tmp}/pcb; proxy_temp_path ${tmp}/ppt; fastcgi_temp_path ${tmp}/pft; uwsgi_temp_path ${tmp}/put; scgi_temp_path ${tmp}/pst;
 ssl_certificate ${certificate.crt}; ssl_certificate_key ${certificate.key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache off;
 ${up('app', bport)} ${up('sink', sport)}
 server { listen 127.0.0.1:${port} default_server backlog=4096; return 404; }
 ${srv(opt.appHost, 'app')} ${srv(opt.uploadHost, 'sink')} }
`,
  )
  return pinned(opt.routerCore, NGINX, ['-c', conf, '-e', path.join(tmp, 'proxy.err')])
}
function haproxySubject(port) {
  const conf = path.join(tmp, 'haproxy.cfg')
  fs.writeFileSync(
    conf,
    `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  option http-keep-alive
  option forwardfor
  http-reuse always
  timeout connect 5s
  timeout client 900s
  timeout server 900s
  timeout http-request 10s
frontend f
  bind 127.0.0.1:${port} backlog 4096
  bind 127.0.0.1:${tlsPortOf(port)} ssl crt ${certificate.pem} backlog 4096
  unique-id-format %{+X}o%ci%cp%Ts%rt%pid
  unique-id-header X-Vcap-Request-Id
  http-request set-header X-Forwarded-Proto http
  use_backend app if { hdr(host),field(1,:),lower -m str ${opt.appHost} }
  use_backend sink if { hdr(host),field(1,:),lower -m str ${opt.uploadHost} }
backend app
  server s 127.0.0.1:${bport} pool-max-conn 1000 pool-purge-delay 1h
backend sink
  server s 127.0.0.1:${sport} pool-max-conn 1000 pool-purge-delay 1h
`,
  )
  return pinned(opt.routerCore, HAPROXY, ['-db', '-f', conf])
}
let natsPort = 0
let natsTimer = null
function startNats() {
  if (natsPort) return
  natsPort = opt.basePort + 40
  pinned(opt.loadCore, NATS, ['-a', '127.0.0.1', '-p', String(natsPort)])
  let sock = null
  const connect = () => {
    sock = net.connect(natsPort, '127.0.0.1', () => {
      sock.write('CONNECT {"verbose":false,"pedantic":false}\r\n')
    })
    sock.on('data', (d) => {
      if (d.includes('PING')) sock.write('PONG\r\n')
    })
    sock.on('error', () => {})
    sock.on('close', () => {
      sock = null
    })
  }
  const tick = () => {
    if (!sock) {
      connect()
      return
    }
    for (const [h, p] of [
      [opt.appHost, bport],
      [opt.uploadHost, sport],
    ]) {
      const m = JSON.stringify({
        host: '127.0.0.1',
        port: p,
        uris: [h],
        app: '00000000-0000-0000-0000-0000000000' + (p % 100),
        private_instance_id: 'i' + p,
        private_instance_index: '0',
        stale_threshold_in_seconds: 300,
      })
      sock.write(`PUB router.register ${Buffer.byteLength(m)}\r\n${m}\r\n`)
    }
  }
  setTimeout(connect, 400).unref()
  natsTimer = setInterval(tick, 1000)
  natsTimer.unref()
}
function gorouterSubject(port, withLog) {
  startNats()
  const conf = path.join(tmp, `gorouter-${port}.yml`)
  fs.writeFileSync(
    conf,
    `status: {port: ${port + 50}, host: 127.0.0.1, user: u, pass: p, routes: {port: ${port + 60}}}
nats: {hosts: [{hostname: 127.0.0.1, port: ${natsPort}}]}
logging: {level: info, loggregator_enabled: ${withLog}, metron_address: "localhost:${port + 70}", format: {timestamp: rfc3339}}
port: ${port}
enable_ssl: true
ssl_port: ${tlsPortOf(port)}
min_tls_version: TLSv1.2
client_cert_validation: none
cipher_suites: ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256
tls_pem:
- cert_chain: ${JSON.stringify(fs.readFileSync(certificate.crt, 'utf8'))}
  private_key: ${JSON.stringify(fs.readFileSync(certificate.key, 'utf8'))}
index: 0
go_max_procs: 1
access_log: {file: "${withLog ? path.join(tmp, 'gorouter-access.log') : ''}"}
load_balancer_healthy_threshold: 0s
start_response_delay_interval: 1s
droplet_stale_threshold: 300s
route_services_internal_server_port: ${port + 80}
disable_keep_alives: false
max_idle_conns: ${withLog ? 100 : 2000}
max_idle_conns_per_host: ${withLog ? 100 : 1000}
backends: {max_attempts: 3, max_conns: 0}
empty_pool_response_code_503: true
endpoint_timeout: 900s
per_request_metrics_reporting: ${withLog}
send_http_start_stop_server_event: ${withLog}
send_http_start_stop_client_event: ${withLog}
max_header_bytes: 1048576
`,
  )
  return pinned(opt.routerCore, GOROUTER, ['-c', conf], { GOMAXPROCS: '1' })
}

const found = []
if (NGINX) found.push('nginx')
if (HAPROXY) found.push('haproxy')
if (GOROUTER && NATS) found.push('gorouter', 'gorouter-log')
const builtins = (opt.subjects ?? found).filter((s) => {
  if (s === 'none') return false
  if (found.includes(s)) return true
  console.error(`subject ${s} is not available here; skipped`)
  return false
})

// ---- one load run ---------------------------------------------------------------------------
function lua(sc) {
  const f = path.join(tmp, sc + '.lua')
  const s = SCENARIOS[sc]
  let src = ''
  if (s.upload)
    src += `wrk.method = "POST"\nwrk.body = string.rep("x", ${s.upload})\nwrk.headers["Content-Type"] = "application/octet-stream"\n`
  if (s.close) src += 'wrk.headers["Connection"] = "close"\n'
  src += `function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT {\\"requests\\":%d,\\"us\\":%d,\\"bytes\\":%d,\\"errors\\":%d,\\"status\\":%d,\\"p50\\":%d,\\"p90\\":%d,\\"p99\\":%d,\\"max\\":%d}\\n",
    summary.requests, summary.duration, summary.bytes, e.connect + e.read + e.write + e.timeout, e.status,
    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))
end\n`
  fs.writeFileSync(f, src)
  return f
}
function runWrk(sc, subject, secs, script) {
  const s = SCENARIOS[sc]
  const port = s.tls ? subject.tls : subject.port
  const host = s.host === 'upload' ? opt.uploadHost : opt.appHost
  const args = [
    '-t1',
    `-c${s.conns}`,
    `-d${secs}s`,
    '--timeout',
    '20s',
    '-s',
    script,
    '-H',
    `Host: ${host}`,
    `${s.tls ? 'https' : 'http'}://127.0.0.1:${port}${s.path}`,
  ]
  const full = opt.loadCore === 'none' ? [WRK, ...args] : ['taskset', '-c', opt.loadCore, WRK, ...args]
  return new Promise((resolve) => {
    const c = spawn(full[0], full.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let cpu = 0 // last seen CPU seconds of the load generator (its /proc entry vanishes at exit)
    const poll = setInterval(() => {
      const v = cpuSeconds(c.pid)
      if (v > cpu) cpu = v
    }, 250)
    c.stdout.on('data', (d) => {
      out += d
    })
    c.stderr.on('data', (d) => {
      out += d
    })
    c.on('close', () => {
      clearInterval(poll)
      const m = /RESULT (\{.*\})/.exec(out)
      resolve(m ? { ...JSON.parse(m[1]), wrkCpu: cpu } : { failed: out.slice(-400) })
    })
  })
}
const loadSide = []
const med = (a) => {
  const s = [...a].sort((x, y) => x - y)
  const n = s.length
  return n === 0 ? NaN : n % 2 ? s[(n - 1) / 2] : (s[n / 2 - 1] + s[n / 2]) / 2
}

// ---- main -----------------------------------------------------------------------------------
makeCertificate()
await startBackends()
for (const c of children) loadSide.push(c.pid)
if (opt.serve) {
  console.log(`backends: GET /1k /100k /10m on 127.0.0.1:${bport}; upload sink on 127.0.0.1:${sport}. Ctrl-C ends.`)
  await new Promise(() => {})
}
const subjects = []
let port = opt.basePort
for (const b of builtins) {
  port += 1
  const c =
    b === 'nginx' ? nginxSubject(port) : b === 'haproxy' ? haproxySubject(port) : gorouterSubject(port, b === 'gorouter-log')
  subjects.push({ name: b, port, tls: tlsPortOf(port), pid: c.pid, log: c.logPath })
}
for (const s of opt.spawns) {
  const c = pinned(opt.routerCore, 'sh', ['-c', 'exec ' + s.cmd], {
    PORT: s.port,
    TLS_PORT: s.tls ?? '',
    TLS_CERTIFICATE: certificate.crt,
    TLS_KEY: certificate.key,
    BACKEND_PORT: String(bport),
    UPLOAD_PORT: String(sport),
  })
  subjects.push({ name: s.name, port: Number(s.port), tls: s.tls ? Number(s.tls) : null, pid: c.pid, log: c.logPath })
}
for (const t of opt.targets)
  subjects.push({
    name: t.name || 'target',
    port: Number(t.port),
    tls: t.tls ? Number(t.tls) : null,
    pid: t.pid ? Number(t.pid) : null,
  })
const live = []
for (const s of subjects) if (await waitReady(s.name, s.port, opt.appHost, 40000, s.log)) live.push(s)
if (live.length === 0) {
  console.error('nothing to measure')
  process.exit(1)
}

const rows = []
const scripts = Object.fromEntries(opt.scenarios.map((s) => [s, lua(s)]))
console.log(
  `subjects: ${live.map((s) => s.name).join(', ')}; ${opt.rounds} rounds of ${opt.duration} s; load core ${opt.loadCore}, router core ${opt.routerCore}`,
)
for (const s of live)
  for (const sc of opt.scenarios) {
    if (SCENARIOS[sc].tls && !s.tls) continue
    const w = await runWrk(sc, s, 1, scripts[sc])
    if (w.failed) console.error(`${s.name}/${sc}: warm-up failed: ${w.failed}`)
  } // JIT, pools
onStop = () => {
  if (rows.length) report()
}
for (let r = 0; r < opt.rounds; r++) {
  for (const sc of opt.scenarios) {
    for (let k = 0; k < live.length; k++) {
      const s = live[(k + r) % live.length] // rotate who goes first
      if (SCENARIOS[sc].tls && !s.tls) continue
      let kept = null
      for (let attempt = 0; attempt < 3; attempt++) {
        const c0 = s.pid ? cpuSeconds(s.pid) : null
        const l0 = loadSide.reduce((a, p) => a + cpuSeconds(p), 0)
        const t0 = coreTimes()
        const w = await runWrk(sc, s, opt.duration, scripts[sc])
        const t1 = coreTimes()
        if (w.failed || w.us === 0) {
          console.error(`${s.name}/${sc}: ${w.failed || 'no result'}`)
          break
        }
        const secs = w.us / 1e6
        const cpu = c0 === null ? null : (cpuSeconds(s.pid) - c0) / secs
        const loadCpu = (loadSide.reduce((a, p) => a + cpuSeconds(p), 0) - l0 + w.wrkCpu) / secs
        const loadBusy = busy(t0, t1, opt.loadCore)
        const routerBusy = busy(t0, t1, opt.routerCore)
        // share of the two cores that neither the router nor the load side used
        const noise = Math.max(
          loadBusy === null ? 0 : loadBusy - loadCpu,
          routerBusy === null || cpu === null ? 0 : routerBusy - cpu,
        )
        const sz = SCENARIOS[sc].upload
        const row = {
          round: r,
          scenario: sc,
          subject: s.name,
          rps: w.requests / secs,
          mibps: (sz ? w.requests * sz : w.bytes) / secs / 1048576,
          p50: w.p50 / 1000,
          p90: w.p90 / 1000,
          p99: w.p99 / 1000,
          max: w.max / 1000,
          errors: w.errors,
          badStatus: w.status,
          cpu,
          rss: s.pid ? rssMiB(s.pid) : null,
          pss: s.pid ? pssMiB(s.pid) : null,
          loadCpu,
          loadBusy,
          routerBusy,
          noise,
        }
        if (kept === null || row.noise < kept.noise) kept = row
        if (noise <= opt.maxNoise) break
        await sleep(1000)
      }
      if (kept) rows.push(kept)
      await sleep(SCENARIOS[sc].close ? 500 : 150)
    }
  }
  process.stderr.write(`round ${r + 1}/${opt.rounds} done\n`)
}
function report() {
  const ref = opt.reference ?? ['gorouter-log', 'gorouter', 'nginx'].find((n) => live.some((s) => s.name === n)) ?? live[0].name
  const f = (x, d = 0) => (x === null || Number.isNaN(x) ? '-' : x.toFixed(d))
  for (const sc of opt.scenarios) {
    const by = (n) => rows.filter((x) => x.scenario === sc && x.subject === n)
    const refRps = med(by(ref).map((x) => x.rps))
    const refP99 = med(by(ref).map((x) => x.p99))
    console.log(`\n### ${sc}: ${SCENARIOS[sc].what}\n`)
    console.log(
      `| subject | req/s median (min..max) | ratio to ${ref} | MiB/s | p50 ms | p99 ms | p99 ratio | CPU cores | req/s per CPU-s | RSS MiB | PSS MiB | load core busy | noisy runs | errors |`,
    )
    console.log('|---|---|---|---|---|---|---|---|---|---|---|---|---|---|')
    for (const s of live) {
      const d = by(s.name)
      if (d.length === 0) {
        console.log(`| ${s.name} | no data | | | | | | | | | | | | |`)
        continue
      }
      const rps = d.map((x) => x.rps)
      const m = (k) => med(d.map((x) => x[k]).filter((x) => x !== null))
      const perCpu = med(d.filter((x) => x.cpu).map((x) => x.rps / x.cpu))
      const err = d.reduce((a, x) => a + x.errors + x.badStatus, 0)
      console.log(
        `| ${s.name} | ${f(med(rps))} (${f(Math.min(...rps))}..${f(Math.max(...rps))}) | ${f(med(rps) / refRps, 2)} | ${f(m('mibps'))} | ${f(m('p50'), 2)} | ${f(m('p99'), 2)} | ${f(m('p99') / refP99, 2)} | ${f(m('cpu'), 2)} | ${f(perCpu)} | ${f(m('rss'))} | ${f(m('pss'))} | ${f(m('loadBusy') * 100)}% | ${d.filter((x) => x.noise > opt.maxNoise).length}/${d.length} | ${err} |`,
      )
    }
  }
  if (opt.json)
    fs.writeFileSync(
      opt.json,
      JSON.stringify(
        { when: new Date().toISOString(), node: process.version, cpus: os.cpus().length, options: opt, rows },
        null,
        1,
      ),
    )
}
report()
if (natsTimer) clearInterval(natsTimer)
cleanup()
process.exit(0)
