import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from '@jest/globals'

const tests = fileURLToPath(new URL('../../../buildpacks/shared/tests', import.meta.url))

it('the modules of the system buildpacks pass their own tests', async () => {
  const { stderr } = await promisify(execFile)('python3', ['-B', '-m', 'unittest', 'discover', '-s', tests])
  expect(stderr).toMatch(/Ran \d{2,} tests[\s\S]*OK/)
}, 60_000)
