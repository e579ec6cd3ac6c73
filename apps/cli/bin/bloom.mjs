#!/usr/bin/env node
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const program = new URL('../dist/main.js', import.meta.url)
if (!existsSync(fileURLToPath(program))) {
  process.stderr.write('bloom has not been built yet. Run `npm run build` (or `npm start`) in the repository, then try again.\n')
  process.exit(1)
}
// Whoever reads may stop reading, as `head` does.
process.stdout.on('error', (error) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})
const interrupt = new AbortController()
process.once('SIGINT', () => {
  interrupt.abort()
  // Whoever presses it again does not want to wait for a clean end.
  process.once('SIGINT', () => process.exit(130))
})
const { runBloom } = await import(program.href)
const code = await runBloom({
  argv: process.argv.slice(2),
  env: process.env,
  cwd: process.cwd(),
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupt.signal,
})
process.exitCode = code
// What was given up may still be under way.
if (interrupt.signal.aborted) process.exit()
