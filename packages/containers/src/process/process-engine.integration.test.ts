import { existsSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '@bloomery/telemetry'
import { bundlePrograms } from '@bloomery/testing'
import { describeEngine } from '../engine-cases.fixture.js'
import { isRoot, run } from '../run.js'
import { ProcessEngine } from './process-engine.js'
import { findSandbox } from './sandbox.js'

const supervisorEntry = join(mkdtempSync(join(tmpdir(), 'bloomery-supervisor-')), 'supervisor.mjs')

beforeAll(async () => {
  await bundlePrograms({
    stdin: {
      contents: "import { runProcessSupervisor } from './supervise.ts'\nawait runProcessSupervisor()",
      resolveDir: import.meta.dirname,
    },
    outfile: supervisorEntry,
  })
})

const sandbox = await findSandbox()
const isCgroupRoot =
  isRoot() &&
  (await run('sh', ['-c', 'test -w /sys/fs/cgroup/memory || test -w /sys/fs/cgroup/cgroup.subtree_control']).then(
    () => true,
    () => false,
  ))

if (!sandbox.works) {
  console.warn(`The process engine is NOT tested here: ${sandbox.remark ?? ''}`)
  it.skip('process engine: bubblewrap does not work on this machine', () => undefined)
} else {
  describeEngine('process', {
    make: (installationId, folder) =>
      new ProcessEngine({ installationId, folder, supervisorEntry, allowUnconfined: false, logger: silentLogger }),
    image: '',
    enforcesMemory: true,
    enforcesDisk: isRoot(),
    enforcesProcesses: isCgroupRoot || !isRoot(),
    countsMemory: isCgroupRoot,
    runsInside: isRoot(),
  })
}

const grouped = isCgroupRoot ? it : it.skip
grouped('leaves no control group behind', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'bloomery-engine-'))
  const installationId = 'feedbeef-0000-0000-0000-000000000000'
  const engine = new ProcessEngine({ installationId, folder, supervisorEntry, allowUnconfined: false, logger: silentLogger })
  await engine.prepare()
  const places = ['/sys/fs/cgroup/memory/bloomery-feedbeef', '/sys/fs/cgroup/bloomery-feedbeef']
  expect(places.some((place) => existsSync(place))).toBe(true)
  await engine.cleanUp({ everything: true })
  await engine.close()
  expect(places.filter((place) => existsSync(place))).toEqual([])
  await run('rm', ['-rf', folder])
})
