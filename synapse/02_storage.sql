-- Create the external data source of the gold files, accessed with the workspace's managed identity: no secret is needed.
USE [$(database)];
GO

-- The master key needs no password: the service protects it. A password would only be needed to open the key by hand.
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
