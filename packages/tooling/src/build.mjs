#!/usr/bin/env node
// Bundles an app: its own sources and the workspace's packages into dist/*.js; what npm installed stays outside.
import { build } from 'esbuild'
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'

const pkg = JSON.parse(readFileSync('package.json', 'utf8'))
if (!existsSync('src/main.ts')) {
  console.warn(`${pkg.name} has no program yet: src/main.ts is not there.`)
  process.exit(0)
}
// Every src/*.ts that is named main.ts or ends in .entry.ts is a program of its own (worker threads, supervisors).
const entryPoints = readdirSync('src')
  .filter((name) => name === 'main.ts' || name.endsWith('.entry.ts'))
  .map((name) => `src/${name}`)
// "bloomery": { "bundle": ["zod"] } in package.json takes a package in: without its unused parts a process needs less memory.
// Not for roles that share a process: each would bring a copy of its own.
const inside = new Set(pkg.bloomery?.bundle ?? [])
// "bloomery": { "lazy": true }: what is imported when it is needed becomes a file of its own, with the npm packages that it
// alone imports, so that a program starts at once and holds only what it uses. "compact": true also strips what people read.
const lazy = pkg.bloomery?.lazy === true
const compact = pkg.bloomery?.compact === true
if (lazy) rmSync('dist', { recursive: true, force: true })
await build({
  entryPoints,
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  splitting: lazy,
  minifySyntax: compact,
  minifyWhitespace: compact,
  sourcemap: true,
  sourcesContent: false,
  conditions: ['@bloomery/source'],
  logLevel: 'warning',
  // Packages in CommonJS that are taken in require others.
  ...(inside.has('dockerode') && {
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
  }),
  plugins: [
    {
      name: 'npm-stays-outside',
      setup: ({ onLoad, onResolve }) => {
        onResolve({ filter: /^[^./]/ }, ({ path }) =>
          path.startsWith('@bloomery/') || inside.has(path) ? undefined : { path, external: true },
        )
        // BuildKit's sessions and engines behind ssh: 10 MB of packages that few need, loaded when one of them is used.
        for (const part of ['dockerode/lib/session', 'docker-modem/lib/ssh'])
          onLoad({ filter: new RegExp(`/${part}\\.js$`) }, () => ({
            contents: `module.exports = (...given) => require('${part}.js')(...given)`,
          }))
        // Messages are in English; the other forty languages are 3 MB of heap.
        onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, ({ path }) => ({
          contents: 'export { default as en } from "./en.js"',
          resolveDir: dirname(path),
        }))
      },
    },
  ],
})
