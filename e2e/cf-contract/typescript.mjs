// Modules of the tests that stand alone, for plain Node.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { transformSync } from '@swc/core'

/** Imports a TypeScript module that imports nothing but what Node brings. */
export async function importTypeScript(path) {
  const source = readFileSync(new URL(path, import.meta.url), 'utf8')
  const { code } = transformSync(source, {
    jsc: { target: 'es2022', parser: { syntax: 'typescript' } },
    module: { type: 'es6' },
  })
  const folder = mkdtempSync(join(tmpdir(), 'typescript-'))
  try {
    writeFileSync(join(folder, 'module.mjs'), code)
    return await import(pathToFileURL(join(folder, 'module.mjs')).href)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
