import { randomUUID } from 'node:crypto'
import { ConfigError } from '@bloomery/config'
import type { Database, Transaction } from '@bloomery/database'
import { hashPassword, passwordMatches } from '../oauth/passwords.js'
import { ADMIN_SCOPES, CF_CLIENT_SCOPES } from '../oauth/scopes.js'
import type { ApiSettings } from '../settings.js'
import { seedBuildpacks } from './buildpacks.js'
import { seedRouterGroup } from './router-group.js'

export interface SeedOptions {
  readonly settings: Pick<ApiSettings, 'appsDomain' | 'installationId' | 'tcpPorts'>
  readonly adminPassword: string | undefined
  readonly buildpacksDir: string | undefined
}
const MINUTE = 60
const DAY = 24 * 60 * MINUTE

/**
 * What every installation begins with. Org, space and the like are made at the first start alone, so that whoever deletes them keeps
 * them deleted; what the operator states in the environment (admin password, apps domain, ports of TCP routes, buildpacks) is brought about at every start.
 */
export async function seed(db: Database, options: SeedOptions): Promise<void> {
  await db.$transaction(
    async (tx) => {
      await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('bloomery:seed', 0))`
      const isFirst = (await tx.setting.findUnique({ where: { name: 'seeded' } })) === null
      await seedAdmin(tx, options.adminPassword)
      await seedSharedDomain(tx, options.settings.appsDomain)
      await seedRouterGroup(tx, options.settings.tcpPorts)
      await seedBuildpacks(tx, options.buildpacksDir)
      if (isFirst) await seedFirstStart(tx, options)
    },
    { timeout: 30_000 },
  )
}

async function seedFirstStart(tx: Transaction, { settings }: SeedOptions): Promise<void> {
  await tx.oauthClient.createMany({
    skipDuplicates: true,
    data: [
      {
        clientId: 'cf',
        // The client's well-known empty secret: it runs on everybody's machine and can keep none.
        secretHash: null,
        grantTypes: ['password', 'refresh_token', 'urn:ietf:params:oauth:grant-type:jwt-bearer'],
        scopes: [...CF_CLIENT_SCOPES],
        accessTokenSeconds: 20 * MINUTE,
        refreshTokenSeconds: 30 * DAY,
      },
    ],
  })
  // Lists go by age: of rows of one moment each installation would show another one first.
  const now = Date.now()
  await tx.stack.createMany({
    skipDuplicates: true,
    data: [
      {
        guid: randomUUID(),
        createdAt: new Date(now - 1),
        name: 'cflinuxfs4',
        description: 'Compatible with Cloud Foundry’s cflinuxfs4; based on Debian 12 (bookworm)',
        isDefault: true,
      },
      {
        guid: randomUUID(),
        createdAt: new Date(now),
        name: 'bookworm',
        description: 'Debian 12 (bookworm)',
        isDefault: false,
      },
    ],
  })
  const quotaGuid = randomUUID()
  await tx.organizationQuota.create({
    data: {
      guid: quotaGuid,
      name: 'default',
      totalMemoryMb: 102_400,
      totalRoutes: 1000,
      totalReservedPorts: 100,
      isDefault: true,
    },
  })
  const organizationGuid = randomUUID()
  await tx.organization.create({ data: { guid: organizationGuid, name: 'bloomery', quotaGuid } })
  await tx.space.create({ data: { guid: randomUUID(), name: 'dev', organizationGuid } })
  await tx.setting.createMany({
    data: [
      { name: 'seeded', value: { version: 1 } },
      { name: 'installation', value: { id: settings.installationId } },
    ],
  })
}

async function seedAdmin(tx: Transaction, password: string | undefined): Promise<void> {
  const present = await tx.user.findFirst({ where: { username: 'admin', origin: 'uaa' } })
  if (!present) {
    if (password === undefined)
      throw new ConfigError('There is no admin user yet: set BLOOMERY_ADMIN_PASSWORD (or BLOOMERY_ADMIN_PASSWORD_FILE).')
    await tx.user.create({
      data: {
        guid: randomUUID(),
        username: 'admin',
        passwordHash: await hashPassword(password),
        scopes: [...ADMIN_SCOPES],
        registered: true,
        email: 'admin',
      },
    })
    return
  }
  if (password === undefined || (await passwordMatches(password, present.passwordHash))) return
  await tx.user.update({
    where: { guid: present.guid },
    data: { passwordHash: await hashPassword(password), failedLogins: 0, lockedUntil: null },
  })
}

async function seedSharedDomain(tx: Transaction, name: string): Promise<void> {
  const present = await tx.domain.findFirst({ where: { name: { equals: name, mode: 'insensitive' } } })
  if (!present) await tx.domain.create({ data: { guid: randomUUID(), name } })
}
