import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createPool } from '@bloomery/database/sql'
import { loadKeyring } from '@bloomery/secrets'
import mysql from 'mysql2/promise'
import pg from 'pg'
import { inBrokerSchema } from '../../apps/broker/src/state/schema.js'
import { findServer } from '../../apps/broker/src/state/servers.js'
import { Vault } from '../../apps/broker/src/state/vault.js'
import type { Platform } from '../../e2e/platform.js'
import { processesOf } from '../../e2e/processes.js'

/** The administrator's way to a common server: what the broker makes there through the platform is made there straight. */
export interface Administrator {
  make(name: string): Promise<unknown>
  remove(name: string): Promise<unknown>
  close(): Promise<unknown>
}

/** As many as the broker's own. */
const CONNECTIONS = 8

/** Finds the shared server of a platform, with its administrator's password, as the broker does. */
export async function administratorOf(platform: Platform, offering: 'mysql' | 'postgresql'): Promise<Administrator> {
  const pool = createPool(inBrokerSchema(databaseUrlOf(platform)), { max: 1 })
  const server = await findServer(pool, `${offering}-shared`)
  await pool.end()
  if (!server) throw new Error(`There is no shared server of ${offering}.`)
  const password = new Vault(loadKeyring(join(platform.home, 'keyring.json'))).open(server.secret, `server:${server.name}`)
  const address = { host: server.address, port: server.ports[offering] ?? 0, user: 'bloomery', password }
  return offering === 'mysql' ? ofMysql(address) : ofPostgres(address)
}

/** What the launcher gives its control process. */
function databaseUrlOf({ home }: Platform): string {
  for (const { pid } of processesOf(home)) {
    const found = readFileSync(`/proc/${pid}/environ`, 'utf8')
      .split('\0')
      .find((each) => each.startsWith('DATABASE_URL='))
    if (found) return found.slice('DATABASE_URL='.length)
  }
  throw new Error('No process of the platform has an address of its database.')
}

interface Address {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
}

function ofMysql(address: Address): Administrator {
  const pool = mysql.createPool({ ...address, connectionLimit: CONNECTIONS })
  return {
    make: async (name) => {
      await pool.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`)
      await pool.query(`CREATE USER ${name}@'%' IDENTIFIED BY 'a-password-of-some-length'`)
      await pool.query(`GRANT ALL PRIVILEGES ON ${name}.* TO ${name}@'%'`)
    },
    remove: async (name) => {
      await pool.query(`DROP USER ${name}@'%'`)
      await pool.query(`DROP DATABASE ${name}`)
    },
    close: () => pool.end(),
  }
}

function ofPostgres(address: Address): Administrator {
  const pool = new pg.Pool({ ...address, database: 'postgres', max: CONNECTIONS })
  return {
    make: async (name) => {
      await pool.query(`CREATE ROLE ${name}_owner NOLOGIN`)
      await pool.query(`CREATE DATABASE ${name} OWNER ${name}_owner`)
      await pool.query(`REVOKE ALL ON DATABASE ${name} FROM PUBLIC`)
      await pool.query(`CREATE ROLE ${name} LOGIN PASSWORD 'a-password-of-some-length' IN ROLE ${name}_owner`)
      await pool.query(`ALTER ROLE ${name} SET role = ${name}_owner`)
    },
    remove: async (name) => {
      await pool.query(`DROP DATABASE ${name}`)
      await pool.query(`DROP ROLE ${name}`)
      await pool.query(`DROP ROLE ${name}_owner`)
    },
    close: () => pool.end(),
  }
}
