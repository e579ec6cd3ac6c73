#!/usr/bin/env node
// Bundles an app: its own sources and the workspace's packages into dist/*.js; what npm installed stays outside.
import { build } from 'esbuild'
import { readdirSync, readFileSync } from 'node:fs'

const pkg = JSON.parse(readFileSync('package.json', 'utf8'))
// Every src/*.ts that is named main.ts or ends in .entry.ts is a program of its own (worker threads, supervisors).
const entryPoints = readdirSync('src')
  .filter((name) => name === 'main.ts' || name.endsWith('.entry.ts'))
  .map((name) => `src/${name}`)
if (entryPoints.length === 0) throw new Error(`${pkg.name} has no src/main.ts`)
await build({
  entryPoints,
  outdir: 'dist',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: true,
  sourcesContent: false,
  conditions: ['@bloomery/source'],
  logLevel: 'warning',
  plugins: [
    {
      name: 'npm-stays-outside',
      setup: ({ onResolve }) => {
        onResolve({ filter: /^[^./]/ }, ({ path }) => (path.startsWith('@bloomery/') ? undefined : { path, external: true }))
      },
    },
  ],
})
