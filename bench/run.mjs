#!/usr/bin/env node
// npm run bench:NAME [-- --json FILE]: bundles bench/NAME/bench.ts, runs it, prints its figures and keeps them where asked.
import { build } from 'esbuild'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const name = process.argv[2]
const bundle = join(root, 'node_modules/.cache/bench', `${name}.mjs`)
await build({
  entryPoints: [join(root, 'bench', name, 'bench.ts')],
  outfile: bundle,
  bundle: true,
  platform: 'node',
  format: 'esm',
  conditions: ['@bloomery/source'],
  plugins: [
    {
      // The workspace's packages are sources; what npm installed is imported as it is.
      name: 'npm-stays-outside',
      setup: ({ onResolve }) => {
        onResolve({ filter: /^[^./]/ }, ({ path }) => (path.startsWith('@bloomery/') ? undefined : { path, external: true }))
      },
    },
  ],
  logLevel: 'warning',
  define: { 'import.meta.url': JSON.stringify(pathToFileURL(join(root, 'e2e/platform.ts')).href) },
})
const { run } = await import(pathToFileURL(bundle).href)
const result = { bench: name, at: new Date().toISOString(), node: process.version, ...(await run()) }
const text = JSON.stringify(result, null, 2)
console.log(text)
const at = process.argv.indexOf('--json')
if (at > 0) {
  const file = resolve(process.argv[at + 1])
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, `${text}\n`)
}
process.exit(0)
