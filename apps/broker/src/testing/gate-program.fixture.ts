import { join } from 'node:path'
import { bundlePrograms } from '@bloomery/testing'

/** The program that is run for each MongoDB instance, as a build makes it. */
export async function buildGateProgram(): Promise<string> {
  const out = join(import.meta.dirname, '../../../../node_modules/.cache/bloomery-broker-test', String(process.pid))
  await bundlePrograms({
    entryPoints: [join(import.meta.dirname, '../mongo-gate.entry.ts')],
    outdir: out,
  })
  return join(out, 'mongo-gate.entry.js')
}
