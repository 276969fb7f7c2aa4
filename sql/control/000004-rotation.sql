-- A rotation is a job too. One that has not flipped the tenant's colour is undone, one that has is
-- finished: the flip sets the job's step to 'drain' in the same transaction.

alter table lessor.jobs drop constraint jobs_kind_check;
alter table lessor.jobs add constraint jobs_kind_check check (kind in ('onboard', 'delete', 'rotate'));
