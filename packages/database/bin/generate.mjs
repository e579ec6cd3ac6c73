#!/usr/bin/env node
// Generates the Prisma client from prisma/schema.prisma. The schema engine is not used for generating, yet the CLI insists on
// one being there (and would download it), so any executable stands in for it.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const schema = `${root}prisma/schema.prisma`
const output = `${root}packages/database/src/generated`
const stamp = `${output}/.schema-digest`
// This script shapes the outcome too.
const digest = [schema, fileURLToPath(import.meta.url)]
  .reduce((hash, path) => hash.update(readFileSync(path)), createHash('sha256'))
  .digest('hex')
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== digest) {
  const cli = createRequire(import.meta.url).resolve('prisma/build/index.js')
  const run = spawnSync(process.execPath, [cli, 'generate', '--schema', schema], {
    cwd: root,
    env: {
      PRISMA_SCHEMA_ENGINE_BINARY: process.execPath,
      CHECKPOINT_DISABLE: '1',
      PRISMA_HIDE_UPDATE_MESSAGE: '1',
      ...process.env,
    },
    encoding: 'utf8',
  })
  if (run.status !== 0) {
    process.stderr.write(`${run.stdout}${run.stderr}\n`)
    process.exit(run.status ?? 1)
  }
  readCompilerFromFile(`${output}/internal/class.ts`)
  writeFileSync(stamp, digest)
}

/**
 * The client imports its query compiler as a module that is one string, which then stays in memory twice, as the module's text
 * and as its value. Read as a file it goes once the compiler is made of it.
 */
function readCompilerFromFile(path) {
  const source = readFileSync(path, 'utf8')
  const imported = /const \{ wasm \} = await import\("(@prisma\/client\/runtime\/[\w.]+\.wasm-base64)\.mjs"\)/
  if (!imported.test(source)) throw new Error(`${path} loads its query compiler in a way that this script does not know.`)
  const read = (_, module) =>
    [
      `const { readFile } = await import('node:fs/promises')`,
      `const { createRequire } = await import('node:module')`,
      `const text = await readFile(createRequire(import.meta.url).resolve('${module}.js'), 'latin1')`,
      `const wasm = text.slice(text.indexOf('"') + 1, text.lastIndexOf('"'))`,
    ].join('\n    ')
  writeFileSync(path, source.replace(imported, read))
}
