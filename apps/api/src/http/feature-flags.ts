import { CfError } from '@bloomery/contracts'
import type { Database, Transaction } from '@bloomery/database'
import { DEFAULT_FEATURE_FLAGS, type FeatureFlagName } from '../seed/feature-flags.js'

export async function isFeatureEnabled(db: Database | Transaction, name: FeatureFlagName): Promise<boolean> {
  const flag = await db.featureFlag.findUnique({ where: { name } })
  return flag?.enabled ?? DEFAULT_FEATURE_FLAGS[name]
}

export async function requireFeature(db: Database | Transaction, name: FeatureFlagName): Promise<void> {
  const flag = await db.featureFlag.findUnique({ where: { name } })
  if (!(flag?.enabled ?? DEFAULT_FEATURE_FLAGS[name]))
    throw new CfError('FeatureDisabled', `Feature Disabled: ${flag?.errorMessage ?? name}`)
}
