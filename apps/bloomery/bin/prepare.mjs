#!/usr/bin/env node
// Installs packages when node_modules does not hold what package-lock.json says, and builds when sources have changed.
// Plain Node: it runs before anything is installed. With --install-only it does not build.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const stamp = join(root, 'node_modules/.cache/bloomery/built')

/** Runs a command; its output is shown only when it fails. A line every ten seconds tells that it goes on. */
async function run(title, command, args, env = {}) {
  const since = Date.now()
  const seconds = () => Math.round((Date.now() - since) / 1000)
  console.log(`- ${title}`)
  const child = spawn(command, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output = (output + chunk).slice(-20_000)))
  const ticking = setInterval(() => console.log(`  still at it (${seconds()} s)`), 10_000)
  const code = await new Promise((resolve) => {
    child.once('error', (error) => {
      output += error.message
      resolve(127)
    })
    child.once('close', resolve)
  })
  clearInterval(ticking)
  if (code === 0) return console.log(`  done (${seconds()} s)`)
  console.error(output.trimEnd())
  console.error(`\n${title} failed (${command} ${args.join(' ')}). The lines above say why.`)
  process.exit(1)
}

/** npm itself writes what it has installed to node_modules/.package-lock.json, at the very end. */
function isInstalled() {
  const installed = readJson(join(root, 'node_modules/.package-lock.json'))?.packages
  if (!installed) return false
  const wanted = readJson(join(root, 'package-lock.json')).packages
  return Object.entries(wanted).every(
    ([path, { version, optional, link, peer, resolved }]) =>
      !path.startsWith('node_modules/') ||
      optional ||
      peer ||
      (link ? existsSync(join(root, path)) || !existsSync(join(root, resolved)) : installed[path]?.version === version),
  )
}

async function install() {
  if (isInstalled()) return
  const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm']
  // No package's install script is needed: what they would fetch, we do not use or bring ourselves.
  const [command, ...rest] = [...npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  await run('Installing packages (a minute or two, once)', command, rest, { NODE_ENV: '', npm_config_production: '' })
}

async function build() {
  const digest = sourceDigest()
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest && isBuilt()) return
  const turbo = join(root, 'node_modules/.bin/turbo')
  await run('Building', turbo, ['run', 'build', '--output-logs=errors-only', '--no-color'], {
    TURBO_TELEMETRY_DISABLED: '1',
    DO_NOT_TRACK: '1',
  })
  mkdirSync(dirname(stamp), { recursive: true })
  writeFileSync(stamp, digest)
}

/** Each app with sources has its bundle. */
const isBuilt = () =>
  readdirSync(join(root, 'apps')).every(
    (app) => !existsSync(join(root, 'apps', app, 'src/main.ts')) || existsSync(join(root, 'apps', app, 'dist/main.js')),
  )

/** Names, sizes and times of all sources: cheap, and different after any edit, checkout or pull. */
function sourceDigest() {
  const hash = createHash('sha256')
  const visit = (path) => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      if (['node_modules', 'dist', '.turbo', 'generated'].includes(entry.name)) continue
      const child = join(path, entry.name)
      if (entry.isDirectory()) visit(child)
      else if (entry.isFile()) {
        const { size, mtimeMs } = statSync(child)
        hash.update(`${child}\0${size}\0${mtimeMs}\n`)
      }
    }
  }
  for (const folder of ['apps', 'packages', 'buildpacks', 'prisma']) if (existsSync(join(root, folder))) visit(join(root, folder))
  return hash.update(readFileSync(join(root, 'package-lock.json'))).digest('hex')
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

try {
  await install()
  if (!process.argv.includes('--install-only')) await build()
} catch (error) {
  console.error(
    error.code === 'ENOSPC'
      ? `No space is left on the disk of ${root}. Free some, then run npm start again.`
      : error.code === 'EACCES'
        ? `This user may not write to ${root}: ${error.message}`
        : error,
  )
  process.exit(1)
}
