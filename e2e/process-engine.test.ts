import { openDriver } from './drivers.js'
import { example, folder, versionedApp } from './fixtures.js'
import { eventually, startPlatform } from './platform.js'

describe('the process engine', () => {
  it('pushes, scales, restarts what crashed, and stops cleanly', async () => {
    const platform = await startPlatform({ engine: 'process' })
    const driver = await openDriver('bloom', platform)
    try {
      await eventually(
        'the sample answers',
        30,
        () => platform.request('hello-node.apps.localhost'),
        ({ status }) => status === 200,
      )
      await driver.ok(['push', 'story', '-p', folder(versionedApp('v1')), '-m', '64M'])
      await driver.ok(['scale', 'story', '-i', '2'])
      await eventually(
        'both run',
        60,
        () => driver.ok(['app', 'story']),
        ({ stdout }) => /2\/2/.test(stdout),
      )
      await platform.request('story.apps.localhost', '/exit')
      await eventually(
        'the crash is told',
        30,
        () => driver.ok(['events', 'story']),
        ({ stdout }) => /crash/.test(stdout),
      )
      await eventually(
        'both run again',
        60,
        () => driver.ok(['app', 'story']),
        ({ stdout }) => /2\/2/.test(stdout),
      )
      await driver.ok(['push', 'flask', '-p', example('flask-app')])
      await eventually(
        'flask answers',
        30,
        () => platform.request('flask.apps.localhost'),
        ({ status }) => status === 200,
      )
    } finally {
      driver.close()
      await platform.stop()
    }
  })
})
