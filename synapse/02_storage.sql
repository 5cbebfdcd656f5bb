-- The way to the files of the gold tables: by the workspace's managed identity, which has no secret.
USE [$(database)];
GO

-- No password: the service protects the key with one of its own. It would only be needed to open the key by hand.
IF NOT EXISTS (SELECT * FROM sys.symmetric_keys WHERE name = '##MS_DatabaseMasterKey##')
    CREATE MASTER KEY;
GO

IF NOT EXISTS (SELECT * FROM sys.database_scoped_credentials WHERE name = 'workspace_identity')
    CREATE DATABASE SCOPED CREDENTIAL [workspace_identity] WITH IDENTITY = 'Managed Identity';
GO

IF NOT EXISTS (SELECT * FROM sys.external_data_sources WHERE name = 'gold')
    CREATE EXTERNAL DATA SOURCE [gold] WITH (
        LOCATION = 'https://$(storage_account).dfs.core.windows.net/$(gold_path)',
        CREDENTIAL = [workspace_identity]
    );
GO
