import { join, resolve } from 'node:path'
import { homePaths } from '@bloomery/config'
import { stopAllServers } from './servers/stop-servers.js'

// Ends the database servers of BLOOMERY_HOME; their data stay. For the end of the platform: needs neither the broker nor its database.
try {
  await stopAllServers({ runFolder: join(homePaths(resolve(process.env['BLOOMERY_HOME'] ?? './.bloomery')).run, 'services') })
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
