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
const digest = createHash('sha256').update(readFileSync(schema)).digest('hex')
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
  writeFileSync(stamp, digest)
}
