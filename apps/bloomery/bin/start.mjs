#!/usr/bin/env node
// `npm start`: with nothing but Node at first. Installs and builds what is missing in a process of its own, then becomes the
// launcher (in this process, since npm's stays in memory above it already).
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  console.error(`Bloomery needs Node.js 20.19 or newer; this is ${process.versions.node}. See https://nodejs.org/en/download.`)
  process.exit(1)
}
if (process.platform === 'win32') {
  console.error('Bloomery runs on Linux and macOS. On Windows use WSL 2 (https://learn.microsoft.com/windows/wsl/install).')
  process.exit(1)
}

const prepared = spawnSync(process.execPath, [fileURLToPath(new URL('prepare.mjs', import.meta.url))], { stdio: 'inherit' })
if (prepared.status !== 0) process.exit(prepared.status ?? 1)

const { startLauncher } = await import('../dist/main.js')
process.exit(await startLauncher(process.env))
