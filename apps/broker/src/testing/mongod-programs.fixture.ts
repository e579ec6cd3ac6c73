import { chmodSync, copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { bundlePrograms } from '@bloomery/testing'

/** What a MongoDB image has, by the names that it has there: stand-ins, which show how they are called and what for. */
export async function buildMongodPrograms(folder: string): Promise<void> {
  mkdirSync(folder, { recursive: true })
  const program = join(folder, 'mongod')
  await bundlePrograms({
    entryPoints: [join(import.meta.dirname, '../../../../packages/mongo-gate/src/mongod-stand-in.fixture.ts')],
    outfile: program,
    format: 'cjs',
    banner: { js: '#!/usr/bin/env node' },
    // What the driver loads if it is there.
    external: [
      'kerberos',
      '@mongodb-js/zstd',
      'snappy',
      'mongodb-client-encryption',
      'aws4',
      'socks',
      'gcp-metadata',
      '@aws-sdk/*',
    ],
  })
  for (const name of ['mongodump', 'mongorestore']) copyFileSync(program, join(folder, name))
  for (const name of ['mongod', 'mongodump', 'mongorestore']) chmodSync(join(folder, name), 0o755)
}
