import type { Domain, Transaction } from '@bloomery/database'

/** Shared domains are everybody's; a private one is its owner's and of those with whom it is shared. */
export async function isDomainUsableBy(tx: Transaction, domain: Domain, organizationGuid: string): Promise<boolean> {
  if (domain.organizationGuid === null || domain.organizationGuid === organizationGuid) return true
  return (await tx.domainSharing.count({ where: { domainGuid: domain.guid, organizationGuid } })) > 0
}
