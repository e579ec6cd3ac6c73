#!/usr/bin/env node
// `npm test`: every suite, from a fresh clone on. Installs and starts what is missing where it may, says loudly what it leaves
// out, and ends with the line "N passed, N failed". Plain Node: at first nothing is installed.
//   --full          the longer suites too
//   --only a,b      some of: static, unit, build, stack, e2e
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const full = process.argv.includes('--full')
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1].split(',') : undefined
const wanted = (name) => only === undefined || only.includes(name)
const scratch = mkdtempSync(join(tmpdir(), 'bloomery-test-'))
const began = Date.now()
const isRoot = process.getuid?.() === 0

// A developer's own platform and settings must not leak into the tests.
const env = {
  ...process.env,
  CI: 'true',
  TURBO_TELEMETRY_DISABLED: '1',
  DO_NOT_TRACK: '1',
  ...(full ? { BLOOMERY_TEST_FULL: '1' } : {}),
}
for (const name of Object.keys(env))
  if (
    (name.startsWith('BLOOMERY_') && !name.startsWith('BLOOMERY_TEST_')) ||
    /^(DATABASE|REDIS|BLOBSTORE)_URL$|^NODE_OPTIONS$/.test(name)
  )
    delete env[name]

let passed = 0
let failed = 0
const leftOut = []
const failures = []
const unstable = []
const running = new Set()

const heading = (text) => console.log(`\n== ${text} (${((Date.now() - began) / 1000).toFixed(0)} s)`)
const has = (name) =>
  [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) => folder && existsSync(join(folder, name)))

/** Runs a program in a group of its own, so that nothing of it is left over after its time. */
function run(command, args, { minutes = 10, quiet = false, extra = {} } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      env: { ...env, ...extra },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    running.add(child)
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        output = (output + chunk).slice(-200_000)
        if (!quiet) process.stdout.write(chunk)
      })
    const timer = setTimeout(() => {
      output += `\nended after ${minutes} minutes`
      endGroup(child, 'SIGTERM')
      setTimeout(() => endGroup(child, 'SIGKILL'), 30_000).unref()
    }, minutes * 60_000)
    const finish = (code) => {
      clearTimeout(timer)
      running.delete(child)
      resolve({ code: code ?? 1, output })
    }
    child.once('error', (error) => {
      output += error.message
      finish(127)
    })
    child.once('close', finish)
  })
}

function endGroup(child, signal) {
  try {
    process.kill(-child.pid, signal)
  } catch {
    // it has ended
  }
}

/** A suite that passes or fails as a whole. */
async function suite(name, command, args, options) {
  const since = Date.now()
  const { code, output } = await run(command, args, { ...options, quiet: true })
  const seconds = ((Date.now() - since) / 1000).toFixed(1)
  if (code === 0) {
    passed++
    console.log(`pass ${name} (${seconds} s)`)
  } else {
    failed++
    failures.push(name)
    console.log(`FAIL ${name} (${seconds} s)\n${output.trimEnd()}`)
  }
  return code === 0
}

/** So many failing files may be machines' whims; more are not. */
const UNSTABLE_FILES = 4

/**
 * A jest run; each of its tests counts, and so does a file that could not be run at all. A few files that failed are run once more, with
 * nothing beside them: what passes then counts as passed, and is named as unstable, for somebody to mend.
 */
async function jest(name, args, minutes) {
  heading(name)
  const first = await jestReport(name, [...args, '--maxWorkers=2'], minutes)
  if (!first) {
    failed++
    failures.push(`${name}: jest did not come to an end`)
    return
  }
  const broken = first.testResults.filter(({ status }) => status === 'failed')
  const isWorthIt = broken.length > 0 && broken.length <= UNSTABLE_FILES
  if (isWorthIt) heading(`${name}: once more, by themselves: ${broken.map(({ name: path }) => relative(root, path)).join(', ')}`)
  const paths = broken.map(({ name: path }) => path)
  const second = isWorthIt
    ? await jestReport(`${name} again`, [...args, '--runInBand', '--runTestsByPath', ...paths], 12)
    : undefined
  const again = new Map(second?.testResults.map((result) => [result.name, result]))
  for (const result of first.testResults) {
    const last = again.get(result.name) ?? result
    if (last !== result && last.status !== 'failed') for (const each of namesOf(result)) unstable.push(each)
    countFile(last)
  }
  if (first.code !== 0 && broken.length === 0) {
    failed++
    failures.push(`${name}: jest ended with ${first.code}`)
  }
}

async function jestReport(name, args, minutes) {
  const file = join(scratch, `${name.replaceAll(/\W+/g, '-')}.json`)
  const { code } = await run(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--no-warnings',
      'node_modules/jest/bin/jest.js',
      ...args,
      '--json',
      `--outputFile=${file}`,
      '--forceExit',
    ],
    { minutes },
  )
  return existsSync(file) ? { code, ...JSON.parse(readFileSync(file, 'utf8')) } : undefined
}

/** The failures of a file; the file itself where it could not be run at all. */
function namesOf({ name: path, assertionResults }) {
  const where = relative(root, path)
  const broken = assertionResults.filter(({ status }) => status === 'failed')
  return broken.length > 0 ? broken.map(({ fullName }) => `${where}: ${fullName}`) : [`${where}: could not be run`]
}

function countFile(result) {
  const { name: path, status, assertionResults } = result
  passed += assertionResults.filter((each) => each.status === 'passed').length
  if (status === 'failed') {
    const names = namesOf(result)
    failed += names.length
    failures.push(...names)
  }
  const skipped = assertionResults.filter((each) => ['pending', 'todo', 'skipped'].includes(each.status))
  if (skipped.length > 0) leftOut.push(`${skipped.length} test(s) of ${relative(root, path)}, e.g. "${skipped[0].fullName}"`)
}

/** Database servers that the service broker runs itself: the packages' own services are neither started nor enabled. */
const SERVERS = {
  'mariadb-server': { is: () => has('mariadbd'), units: ['mariadb'] },
  'rabbitmq-server': { is: () => has('rabbitmq-server'), units: ['rabbitmq-server', 'epmd'] },
  postgresql: { is: () => existsSync('/usr/lib/postgresql'), units: ['postgresql'] },
}
const POLICY = '/usr/sbin/policy-rc.d'

/** Missing programs, by apt, where this user may. */
async function installMissing() {
  const engine = await engineAnswers()
  const missing = Object.entries({
    dockerd: ['docker.io', 'iptables'],
    'redis-server': ['redis-server'],
    bwrap: ['bubblewrap'],
    debootstrap: ['debootstrap'],
    ip: ['iproute2'],
    ps: ['procps'],
    // MongoDB's development server is built by these.
    javac: ['default-jdk-headless'],
    mvn: ['maven'],
  })
    .filter(([program]) => !has(program) && !(program === 'dockerd' && engine))
    .flatMap(([, packages]) => packages)
  const servers = Object.keys(SERVERS).filter((name) => !SERVERS[name].is())
  if (missing.length + servers.length === 0) return
  const sudo = isRoot ? [] : ['sudo', '-n']
  const may = has('apt-get') && (isRoot || (has('sudo') && spawnSync('sudo', ['-n', 'true']).status === 0))
  if (may) {
    heading(`Installing ${[...missing, ...servers].join(', ')}`)
    const apt = (...args) =>
      spawnSync([...sudo, 'apt-get'][0], [...sudo, 'apt-get'].slice(1).concat(args), {
        env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
        stdio: ['ignore', 'ignore', 'inherit'],
      }).status === 0
    const install = (packages) => {
      const how = ['install', '-y', '--no-install-recommends', ...packages]
      return packages.length === 0 || apt(...how) || (apt('update') && apt(...how))
    }
    if (!install(missing)) leftOut.push(`what needs ${missing.join(', ')}: apt-get install ${missing.join(' ')}`)
    if (!withoutStarting(sudo, servers, () => install(servers)))
      leftOut.push(`what needs ${servers.join(', ')}: apt-get install ${servers.join(' ')}`)
    return
  }
  leftOut.push(`what needs ${[...missing, ...servers].join(', ')}: apt-get install ${[...missing, ...servers].join(' ')}`)
}

/** Debian's own way to keep packages from starting what they install. */
function withoutStarting(sudo, packages, install) {
  const as = (command, ...args) => {
    const [first, ...rest] = [...sudo, command, ...args]
    return spawnSync(first, rest, { stdio: 'ignore' }).status === 0
  }
  const ours = packages.length > 0 && !existsSync(POLICY)
  if (ours) as('sh', '-c', `printf '#!/bin/sh\\nexit 101\\n' > ${POLICY} && chmod 755 ${POLICY}`)
  try {
    return install()
  } finally {
    if (ours) as('rm', '-f', POLICY)
    if (has('systemctl')) for (const name of packages) as('systemctl', 'disable', '--now', ...SERVERS[name].units)
  }
}

const engineAnswers = () =>
  new Promise((resolve) => {
    if (process.env.DOCKER_HOST) return resolve(spawnSync('docker', ['version'], { stdio: 'ignore' }).status === 0)
    const call = request({ socketPath: '/var/run/docker.sock', path: '/_ping', timeout: 3000 }, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    call.on('error', () => resolve(false))
    call.on('timeout', () => call.destroy())
    call.end()
  })

/** Starts a container engine if none answers; resolves with a function that stops what was started. */
async function ensureEngine() {
  if (await engineAnswers()) return async () => {}
  if (isRoot && has('dockerd')) {
    heading('Starting a container engine')
    const daemon = spawn('dockerd', ['--live-restore', '--userland-proxy=false'], { env, stdio: 'ignore', detached: true })
    const failedToStart = new Promise((resolve) => daemon.once('error', resolve).once('exit', resolve))
    for (let tries = 0; tries < 300; tries++) {
      if (await engineAnswers())
        return async () => {
          const ended = new Promise((resolve) => daemon.once('exit', resolve))
          daemon.kill('SIGTERM')
          await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, 20_000))])
        }
      if (await Promise.race([failedToStart.then(() => true), new Promise((resolve) => setTimeout(() => resolve(false), 100))]))
        break
    }
    endGroup(daemon, 'SIGTERM')
  }
  leftOut.push('everything that needs a container engine: none answers here, and none could be started')
  return undefined
}

async function staticChecks() {
  const node = process.execPath
  await suite('types', node, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json'])
  await suite('lint', node, ['node_modules/eslint/bin/eslint.js', '.', '--max-warnings', '0'])
  await suite('dependency rules', node, [
    'node_modules/dependency-cruiser/bin/dependency-cruise.mjs',
    '--config',
    '.dependency-cruiser.cjs',
    'apps',
    'packages',
  ])
  await suite('format', node, ['node_modules/prettier/bin/prettier.cjs', '--check', '.'])
}

async function main() {
  // In a process of its own, as npm start does it.
  const installed = await run(process.execPath, ['apps/bloomery/bin/prepare.mjs', '--install-only'], { minutes: 15 })
  if (installed.code !== 0) throw new Error('The packages could not be installed; the lines above say why.')
  await installMissing()
  const stopEngine = await ensureEngine()
  try {
    heading('Static checks, build, stack image')
    if (!(await suite('generated database client', process.execPath, ['packages/database/bin/generate.mjs']))) return
    await Promise.all([
      wanted('static') ? staticChecks() : undefined,
      (async () => {
        let built = true
        if (wanted('build') || wanted('e2e')) {
          built = await suite('build', process.execPath, ['apps/bloomery/bin/prepare.mjs'])
        }
        if (stopEngine && built && (wanted('stack') || wanted('e2e')))
          await suite('stack image', process.execPath, ['stacks/build.mjs'], { minutes: 15 })
      })(),
    ])
    if (wanted('unit')) await jest('Unit and integration tests', [], full ? 90 : 28)
    if (wanted('e2e')) {
      if (!has('cf')) leftOut.push('runs of the real cf client in e2e: there is no cf on PATH')
      const absent = ['api', 'stager', 'scheduler', 'cell', 'router', 'logs', 'broker', 'cli', 'bloomery'].filter(
        (role) => !existsSync(join(root, 'apps', role, 'dist/main.js')),
      )
      if (absent.length > 0) leftOut.push(`the end-to-end stories: there is no program yet for ${absent.join(', ')}`)
      else if (stopEngine) await jest('End-to-end tests', ['--config', 'e2e/jest.config.json'], full ? 40 : 18)
      else await jest('End-to-end tests (process engine)', ['--config', 'e2e/jest.config.json', 'process-engine'], 10)
    }
    if (!full && readdirSync(join(root, 'e2e')).some((name) => name.endsWith('.full.test.ts')))
      leftOut.push('the longer suites: npm run test:full')
  } finally {
    await stopEngine?.()
  }
}

for (const signal of ['SIGINT', 'SIGTERM'])
  process.once(signal, () => {
    for (const child of running) endGroup(child, 'SIGTERM')
    setTimeout(() => process.exit(130), 2_000)
  })

try {
  await main()
} catch (error) {
  failed++
  failures.push(String(error?.stack ?? error))
}
rmSync(scratch, { recursive: true, force: true })
heading('Result')
for (const each of leftOut) console.log(`LEFT OUT: ${each}`)
for (const each of unstable) console.log(`UNSTABLE, passed the second time: ${each}`)
for (const each of failures) console.log(`FAILED: ${each}`)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)
