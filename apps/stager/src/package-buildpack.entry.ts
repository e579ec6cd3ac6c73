import { mkdir } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createLogger } from '@bloomery/telemetry'
import { packageBuildpack } from './buildpacks/package-buildpack.js'
import { RuntimeSources } from './runtimes/runtime-sources.js'
import { RuntimeStore } from './runtimes/runtime-store.js'

const USAGE = 'package-buildpack NAME [--carry DEPENDENCY@RANGE]... [--work FOLDER] --output FILE.zip'

/** A system buildpack as a zip, for sites that reach no registry; `cf create-buildpack` or `update-buildpack` takes it there. */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { carry: { type: 'string', multiple: true }, output: { type: 'string' }, work: { type: 'string' } },
  })
  const [name] = positionals
  if (name === undefined || values.output === undefined) throw new Error(`Usage: ${USAGE}`)
  const work = resolve(values.work ?? '.bloomery-package')
  await mkdir(work, { recursive: true })
  const sources = new RuntimeSources({
    folder: join(work, 'versions'),
    architecture: process.arch,
    proxies: { http: process.env['HTTP_PROXY'], https: process.env['HTTPS_PROXY'], no: process.env['NO_PROXY'] },
    go: { GOPROXY: process.env['GOPROXY'], GOSUMDB: process.env['GOSUMDB'] },
    home: homedir(),
  })
  try {
    await packageBuildpack({
      systemFolder: fileURLToPath(new URL('../../../buildpacks', import.meta.url)),
      name,
      runtimes: values.carry ?? [],
      store: new RuntimeStore(join(work, 'runtimes'), sources, process.arch, createLogger('package-buildpack')),
      output: resolve(values.output),
    })
  } finally {
    await sources.close()
  }
}

await main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
})
