import { eventually, withPostgres } from '@bloomery/testing'
import { examplePath, makeBench } from './testing.fixture.js'
const database = withPostgres()
it('perf', async () => {
  const bench = await makeBench(database.pool, {
    systemBuildpacks: ['staticfile_buildpack', 'nodejs_buildpack', 'python_buildpack', 'binary_buildpack'],
  })
  const stager = bench.makeStager()
  await eventually(() => stager.isReady)
  let app: string | undefined
  const out: string[] = []
  for (const round of [1, 2, 3]) {
    bench.logs.lines.length = 0
    const added = await bench.addBuild({ files: examplePath('express-app'), ...(app ? { app } : {}) })
    app = added.app
    const t = Date.now()
    await stager.offer(added.build)
    out.push(`round ${round}: ${Date.now() - t} ms ${(await bench.build(added.build))?.state}`)
    for (const l of bench.logs.lines) out.push(`  ${String(l.at - t).padStart(6)} ${l.text}`)
  }
  await bench.close()
  console.log(out.join('\n'))
}, 200_000)
