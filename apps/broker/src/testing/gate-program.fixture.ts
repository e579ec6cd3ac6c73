import { join } from 'node:path'
import { build } from 'esbuild'

/** The program that is run for each MongoDB instance, as a build makes it. */
export async function buildGateProgram(): Promise<string> {
  const out = join(import.meta.dirname, '../../../../node_modules/.cache/bloomery-broker-test', String(process.pid))
  await build({
    entryPoints: [join(import.meta.dirname, '../mongo-gate.entry.ts')],
    outdir: out,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['@bloomery/source'],
    logLevel: 'error',
  })
  return join(out, 'mongo-gate.entry.js')
}
