import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from '@jest/globals'

it('docs/configuration.md says what the schemas and docker-compose.yml say', () => {
  const program = fileURLToPath(new URL('../bin/configuration-page.mjs', import.meta.url))
  const { status, stderr } = spawnSync(process.execPath, [program, '--check'], { encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
})
