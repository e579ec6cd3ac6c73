import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Transaction } from '@bloomery/database'
import { z } from 'zod'
import { lockPositions, renumber } from '../resources/buildpacks/positions.js'

/** The reference's order: the most particular first, and last the one that takes anything with a command. */
const ORDER = ['staticfile', 'java', 'ruby', 'dotnet_core', 'nodejs', 'go', 'python', 'php', 'nginx', 'r', 'binary']
const rank = (folder: string): number => (ORDER.includes(folder) ? ORDER.indexOf(folder) : ORDER.length - 1.5)
/** Which of the product's buildpacks have ever been listed, so that one that an operator has deleted or replaced does not come back. */
const SETTING = 'system_buildpacks'
const Listed = z.array(z.string())

/** Adds the product's own buildpacks that were never listed. What an operator has renamed, moved, disabled, replaced or deleted stays so. */
export async function seedBuildpacks(tx: Transaction, folder: string | undefined): Promise<void> {
  if (folder === undefined || !existsSync(folder)) return
  await lockPositions(tx)
  const setting = await tx.setting.findUnique({ where: { name: SETTING } })
  const listed = Listed.parse(setting?.value ?? [])
  const names = systemBuildpacksIn(folder)
  for (const name of names) {
    const filename = `${name}_buildpack-v${versionOf(join(folder, name))}.zip`
    if (listed.includes(name)) {
      // The file's name tells the version, which is the installed product's.
      await tx.buildpack.updateMany({
        where: { system: true, blobKey: null, filename: { startsWith: `${name}_buildpack-` }, NOT: { filename } },
        data: { filename },
      })
      continue
    }
    const present = await tx.buildpack.findMany({ orderBy: { position: 'asc' } })
    const next = present.find((each) => each.system && rank(each.name.replace(/_buildpack$/, '')) > rank(name))
    const guid = randomUUID()
    const last = present.length + 1
    await tx.buildpack.create({
      data: { guid, name: `${name}_buildpack`, position: last, state: 'READY', filename, system: true },
    })
    await renumber(tx, { guid, position: next?.position ?? last })
  }
  const value = [...new Set([...listed, ...names])]
  await tx.setting.upsert({ where: { name: SETTING }, update: { value }, create: { name: SETTING, value } })
}

function systemBuildpacksIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter(
      (entry) => entry.isDirectory() && ['bin/detect', 'manifest.yml'].some((file) => existsSync(join(folder, entry.name, file))),
    )
    .map((entry) => entry.name)
    .sort((a, b) => rank(a) - rank(b))
}

function versionOf(folder: string): string {
  const path = join(folder, 'package.json')
  if (!existsSync(path)) return '1.0.0'
  const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version?: string }
  return version ?? '1.0.0'
}
